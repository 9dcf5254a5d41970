"""Facts of a machine, judged: each check says what was found and, if it fails, how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from halo_forge.report.grid import Grid

__all__ = ["CHECKS", "Check", "check_machine", "checks_grid"]

_GIBI = 2**30
# The built-in model and its training, and a few of its checkpoints with their journals.
_MEMORY, _DISK = 3 * _GIBI, 2 * _GIBI
_COMPILERS = ("g++", "clang++")

_Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """One question to the machine.

    Attributes:
        name: What is looked at.
        ok: Whether the answer is good.
        found: The answer.
        fix: What to do; empty when there is nothing to mend.
    """

    name: str
    ok: bool
    found: str
    fix: str = ""


def check_machine(facts: _Facts, torch: _Facts | None) -> list[Check]:
    """Return every check.

    Args:
        facts: What `halo-forge info --json` prints.
        torch: What `halo_forge.utils.hardware.torch_facts` returns; None where torch is missing.
    """
    return [check(facts, torch) for check in CHECKS]


def checks_grid(checks: Iterable[Check]) -> Grid:
    """Return one row a check."""
    rows = ((check.name, "ok" if check.ok else "FAILED", check.found) for check in checks)
    return Grid(("check", "", "found"), tuple(rows), wide=True)


def _compilers(facts: _Facts, torch: _Facts | None) -> Check:
    del torch
    here = [one["name"] for one in facts["compilers"] if one["path"]]
    fix = "Install one: sudo dnf install gcc-c++ (Fedora), sudo apt install g++ (Debian, Ubuntu)."
    ok = bool(set(here) & set(_COMPILERS))
    return Check("compilers", ok, ", ".join(here) or "none", "" if ok else fix)


def _sandbox(facts: _Facts, torch: _Facts | None) -> Check:
    del torch
    working = [one for one in facts["sandbox"] if one["works"]]
    if not working:
        reasons = "; ".join(f"{one['backend']}: {one['reason']}" for one in facts["sandbox"])
        fix = "See docs/SECURITY.md; in a container allow user namespaces, or install bubblewrap."
        return Check("sandbox", ok=False, found=f"none works: {reasons}", fix=fix)
    promises = working[0]["guarantees"]
    open_ = sorted(name for name, one in promises.items() if one["level"] != "enforced")
    found = f"{working[0]['backend']}, {len(promises) - len(open_)} of {len(promises)} guarantees"
    if not open_:
        return Check("sandbox", ok=True, found=f"{found} enforced")
    reasons = "; ".join(
        f"{one['backend']}: {one['reason']}" for one in facts["sandbox"] if one["reason"]
    )
    return Check(
        "sandbox",
        ok=False,
        found=f"{found} enforced, not {', '.join(open_)}",
        fix="Mend a stronger backend: " + (reasons or "docs/SECURITY.md says what each needs."),
    )


def _disk(facts: _Facts, torch: _Facts | None) -> Check:
    del torch
    free = facts["hardware"]["disk_free"]
    fix = "Free some, or work in a folder on another disk; halo-forge plan says what a run takes."
    return Check(
        "disk", free >= _DISK, f"{free / _GIBI:.1f} GiB free here", _unless(free >= _DISK, fix)
    )


def _memory(facts: _Facts, torch: _Facts | None) -> Check:
    del torch
    memory = facts["hardware"]["memory"]
    ok = memory["available"] >= _MEMORY
    found = f"{memory['available'] / _GIBI:.1f} of {memory['total'] / _GIBI:.1f} GiB available"
    fix = (
        "Close other programs, or raise the container's limit; training the built-in model takes 3."
    )
    return Check("memory", ok, found, _unless(ok, fix))


def _torch(facts: _Facts, torch: _Facts | None) -> Check:
    del facts
    fix = "Install what trains: pip install 'halo-forge[train]', or make demo in a clone."
    if torch is None:
        return Check("torch", ok=False, found="not installed", fix=fix)
    return Check("torch", ok=True, found=f"{torch['version']}, {torch['threads']} threads")


def _device(facts: _Facts, torch: _Facts | None) -> Check:
    cards = [gpu["name"] for gpu in facts["hardware"]["gpus"]]
    seen = [one["name"] for one in torch["devices"]] if torch else []
    if seen or not cards:
        return Check("graphics card", ok=True, found=", ".join(seen) or "none; the processor works")
    backend = f"torch for {torch['backend']}" if torch else "no torch"
    return Check(
        "graphics card",
        ok=False,
        found=f"{', '.join(cards)}, which {backend} does not see",
        fix="Install the torch of your card (ROCm for AMD, CUDA for NVIDIA), then make demo "
        "TORCH=system; look at the driver if it is that torch.",
    )


def _unless(ok: bool, fix: str) -> str:
    return "" if ok else fix


CHECKS: tuple[Callable[[_Facts, _Facts | None], Check], ...] = (
    _compilers,
    _sandbox,
    _memory,
    _disk,
    _torch,
    _device,
)
"""All checks, in the order in which they are shown."""
