"""The facts of this machine that `info` shows and `doctor` judges."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

from halo_forge import __version__
from halo_forge.core.errors import SandboxFault
from halo_forge.utils.text import printable

__all__ = ["machine_facts"]


def machine_facts() -> dict[str, Any]:
    """Return hardware, libraries, compilers and what each sandbox promises here."""
    from halo_forge.config.fit import FitSettings
    from halo_forge.config.sections import HardwareSettings
    from halo_forge.models.profile import prepare, profile_facts
    from halo_forge.utils.hardware import describe

    prepare(HardwareSettings())
    return {
        "halo_forge": __version__,
        "hardware": describe(),
        "profile": {
            **profile_facts(HardwareSettings()),
            "dataloader_num_workers": FitSettings().dataloader_num_workers,
            "dataloader_pin_memory": FitSettings().dataloader_pin_memory,
        },
        "libraries": _libraries(),
        "compilers": _compilers(),
        "sandbox": _sandbox(),
    }


def _libraries() -> dict[str, str | None]:
    """Return the version of every library that our own metadata names; none where it lacks."""
    wanted = metadata.requires("halo-forge") or []
    names = sorted({re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in wanted})
    return {name: _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _compilers() -> list[dict[str, str | None]]:
    """Return each toolchain with its path and its version, which it is asked in the sandbox."""
    from halo_forge.rlvr.verifiers.toolchain import driver_path
    from halo_forge.rlvr.verifiers.toolchains import TOOLCHAINS
    from halo_forge.sandbox import Job, Sandbox, Step, open_sandbox

    found = {name: driver_path(tool) for name, tool in TOOLCHAINS.items() if not tool.remote}

    def version(sandbox: Sandbox, name: str, path: str) -> str | None:
        job = Job(runs=(Step(tuple(TOOLCHAINS[name].version_argv(path))),))
        try:
            outcome = sandbox.run(job).runs[0]
        except SandboxFault:
            return None  # one that cannot be started says nothing of the others
        line = outcome.stdout.decode("utf-8", "replace").partition("\n")[0]
        return printable(line) if outcome.ok else None

    versions: dict[str, str | None] = {}
    try:
        with open_sandbox(workers=1) as sandbox:
            versions = {name: version(sandbox, name, path) for name, path in found.items() if path}
    except SandboxFault:
        pass  # without a sandbox the paths alone are shown; the sandbox's section says why
    return [
        {"name": name, "path": path, "version": versions.get(name)} for name, path in found.items()
    ]


def _sandbox() -> list[dict[str, Any]]:
    """Return each backend with what it promises here."""
    from halo_forge.sandbox import probe

    return [
        {
            "backend": finding.backend,
            "works": finding.works,
            "reason": finding.reason,
            "guarantees": {
                promise.name: {
                    "level": str(promise.level),
                    "by": promise.by,
                    "proof": promise.proof,
                }
                for promise in finding.guarantees
            },
        }
        for finding in probe()
    ]
