"""What this machine offers: hardware, libraries, compilers, sandbox."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import click
from rich.console import Console

from halo_forge import __version__
from halo_forge.commands._options import json_output, verbose
from halo_forge.core.errors import SandboxFault
from halo_forge.utils.text import printable

__all__ = ["command"]

_GIBI = 1 << 30
_Rows = Sequence[tuple[str, str]]


@click.command("info")
@json_output
@verbose
def command(as_json: bool) -> None:
    """Show the hardware, the libraries, the compilers and what the sandbox enforces here.

    Compilers are asked for their versions inside the sandbox, and every promise of the sandbox
    is tried, which takes a few seconds.

    \b
    Example:
      halo-forge info --json > machine.json
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.report.grid import Grid

    console = Console(stderr=True)
    with console.status("trying the sandbox"):
        facts = _facts()
    if as_json:
        echo_json(facts)
        return
    rows = tuple((title, *row) for title, part in _sections(facts).items() for row in part)
    echo_grid(Grid(("part", "item", "found"), rows, wide=True))


def _facts() -> dict[str, Any]:
    from halo_forge.utils.hardware import describe

    return {
        "halo_forge": __version__,
        "hardware": describe(),
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

    found = {name: driver_path(tool) for name, tool in TOOLCHAINS.items()}

    def version(sandbox: Sandbox, name: str, path: str) -> str | None:
        job = Job(runs=(Step(tuple(TOOLCHAINS[name].version_argv(path))),))
        outcome = sandbox.run(job).runs[0]
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


def _sections(facts: Mapping[str, Any]) -> dict[str, _Rows]:
    """Return what people read: a title and its lines."""
    compilers = [
        (entry["name"], entry["version"] or entry["path"] or "not installed")
        for entry in facts["compilers"]
    ]
    libraries = [(name, version or "not installed") for name, version in facts["libraries"].items()]
    return {
        "machine": list(_machine(facts["hardware"])),
        "libraries": [("halo-forge", facts["halo_forge"]), *libraries],
        "compilers": compilers,
        "sandbox": list(_promises(facts["sandbox"])),
    }


def _machine(hardware: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    cpu, memory = hardware["cpu"], hardware["memory"]
    features = [name for name in ("avx512", "amx", "bf16") if cpu[name]]
    yield "system", f"{hardware['os']}, kernel {hardware['kernel']}, {platform.machine()}"
    yield "Python", f"{hardware['python']} ({sys.executable})"
    yield "processor", f"{cpu['model']}, {cpu['cores']} cores, {' '.join(features) or 'no bf16'}"
    yield (
        "memory",
        f"{memory['total'] / _GIBI:.1f} GiB, {memory['available'] / _GIBI:.1f} GiB available",
    )
    for gpu in hardware["gpus"]:
        yield "GPU", _gpu(gpu)
    if not hardware["gpus"]:
        yield "GPU", "none"
    yield "disk", f"{hardware['disk_free'] / _GIBI:.1f} GiB free here"


def _gpu(gpu: Mapping[str, Any]) -> str:
    parts = [gpu["name"], gpu["arch"]]
    if gpu["memory_total"] is not None:
        parts.append(f"{gpu['memory_total'] / _GIBI:.1f} GiB")
    parts.append("unified memory" if gpu["unified"] else None)
    return ", ".join(part for part in parts if part)


def _promises(backends: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for backend in backends:
        if not backend["works"]:
            yield backend["backend"], f"does not work: {backend['reason']}"
            continue
        levels: dict[str, list[str]] = {}
        for name, promise in backend["guarantees"].items():
            levels.setdefault(promise["level"], []).append(name)
        yield (
            backend["backend"],
            "; ".join(f"{level}: {', '.join(names)}" for level, names in levels.items()),
        )
