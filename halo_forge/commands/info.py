"""What this machine offers: hardware, libraries, compilers, sandbox."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.console import Console

from halo_forge.commands._options import json_output, verbose

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
    from halo_forge.commands._machine import machine_facts
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.report.grid import Grid

    console = Console(stderr=True)
    with console.status("trying the sandbox"):
        facts = machine_facts()
    if as_json:
        echo_json(facts)
        return
    rows = tuple((title, *row) for title, part in _sections(facts).items() for row in part)
    echo_grid(Grid(("part", "item", "found"), rows, wide=True))


def _sections(facts: Mapping[str, Any]) -> dict[str, _Rows]:
    """Return what people read: a title and its lines."""
    compilers = [
        (entry["name"], entry["version"] or entry["path"] or "not installed")
        for entry in facts["compilers"]
    ]
    libraries = [(name, version or "not installed") for name, version in facts["libraries"].items()]
    return {
        "machine": list(_machine(facts["hardware"])),
        "profile": list(_profile(facts["profile"])),
        "libraries": [("halo-forge", facts["halo_forge"]), *libraries],
        "compilers": compilers,
        "sandbox": list(_promises(facts["sandbox"])),
    }


def _machine(hardware: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    cpu, memory = hardware["cpu"], hardware["memory"]
    features = [name for name in ("avx512", "amx", "bf16") if cpu[name]]
    yield "system", f"{hardware['os']}, kernel {hardware['host']['kernel']}, {platform.machine()}"
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


def _profile(profile: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say how this machine is used unless settings say otherwise."""
    fraction = profile["memory_fraction"]
    yield "name", f"{profile['name']} (hardware.profile)"
    yield "graphics memory", "not bounded" if fraction is None else f"{fraction:g} of it at most"
    yield "stages", "processes of their own" if profile["stage_isolation"] else "one process"
    yield "numbers", "bfloat16 where native, else float32" if profile["bf16"] else "float32"
    tried = "sdpa, with ROCm if a trial step goes well" if profile["attention"] == "auto" else None
    yield "attention", tried or profile["attention"]
    pinned = "pinned memory" if profile["dataloader_pin_memory"] else "no pinned memory"
    yield "data loader", f"{profile['dataloader_num_workers']} processes, {pinned}"
    for name, value in profile["environment"].items():
        yield name, value or "not set"


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
