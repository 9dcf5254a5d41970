"""Facts of a machine, judged: each check says what was found and, if it fails, how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from halo_forge.report.grid import Grid
from halo_forge.report.host_checks import HOST_CHECKS, Check

__all__ = ["CHECKS", "check_machine", "checks_grid"]

_GIBI = 2**30
# The built-in model and its training, and a few of its checkpoints with their journals.
_MEMORY, _DISK = 3 * _GIBI, 2 * _GIBI
# A cycle of Qwen2.5-Coder-7B: adapters of rank 16 on seven layers' 28 copies in float32 take 0.15
# GiB, journals of 100 prompts x 8 answers the rest.
_CYCLE = _GIBI // 5
_COMPILERS = ("g++", "clang++")
_TORCH_OF = {
    "amd": "pip install torch brings CUDA's: take AMD's wheels (docs/howto/set-up.md). If it is "
    "that torch, look at device access.",
    "nvidia": "Install the torch for CUDA that your driver supports (nvidia-smi shows the newest), "
    "or a newer driver.",
}

_Facts = Mapping[str, Any]


def check_machine(facts: _Facts, torch: _Facts | None) -> list[Check]:
    """Return every check that concerns the machine.

    Args:
        facts: What `halo-forge info --json` prints.
        torch: What `halo_forge.utils.hardware.torch_facts` returns; None where torch is missing.
    """
    gpus = facts["hardware"]["gpus"]
    shared = any(gpu["vendor"] == "amd" and gpu["unified"] for gpu in gpus)
    chosen = HOST_CHECKS.values() if shared else [HOST_CHECKS["device access"]]
    found = (check(facts, torch) for check in (*CHECKS.values(), *chosen))
    return [check for check in found if check is not None]


def checks_grid(checks: Iterable[Check]) -> Grid:
    """Return one row a check."""
    rows = ((check.name, check.word, check.found) for check in checks)
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
    found = f"{free / _GIBI:.1f} GiB free here, about {free // _CYCLE} cycles of a 7B model"
    return Check("disk", free >= _DISK, found, _unless(free >= _DISK, fix))


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
    gpus = facts["hardware"]["gpus"]
    cards = [gpu["name"] for gpu in gpus]
    seen = [one["name"] for one in torch["devices"]] if torch else []
    if seen or not cards:
        return Check("graphics card", ok=True, found=", ".join(seen) or "none; the processor works")
    backend = f"torch for {torch['backend']}" if torch else "no torch"
    return Check(
        "graphics card",
        ok=False,
        found=f"{', '.join(cards)}, which {backend} does not see",
        fix=_TORCH_OF[gpus[0]["vendor"]] + " Then make demo TORCH=system.",
    )


def _targets(facts: _Facts, torch: _Facts | None) -> Check | None:
    """Look for the card's kernels: a torch without them sees it and fails at the first product."""
    built = torch["targets"] if torch else []
    wanted = [gpu["arch"] for gpu in facts["hardware"]["gpus"] if gpu["arch"]]
    if not built or not wanted:
        return None
    lacking = [arch for arch in wanted if not any(_runs(target, arch) for target in built)]
    if not lacking:
        return Check("torch kernels", ok=True, found=", ".join(wanted))
    found = f"none for {', '.join(lacking)}; there are {', '.join(built)}"
    vendor = "amd" if lacking[0].startswith("gfx") else "nvidia"
    return Check("torch kernels", ok=False, found=found, fix=_TORCH_OF[vendor])


def _runs(target: str, arch: str) -> bool:
    """Tell whether code for ``target`` runs on ``arch``, such as ``sm_80`` on ``sm_86``."""
    kind, _, number = target.partition("_")
    own = arch.removeprefix("sm_")
    if not (number.isdigit() and own.isdigit()):
        return target == arch
    if kind == "compute":  # an intermediate language, which newer cards compile
        return int(own) >= int(number)
    return own[:-1] == number[:-1] and int(own) >= int(number)


def _unless(ok: bool, fix: str) -> str:
    return "" if ok else fix


CHECKS: Mapping[str, Callable[[_Facts, _Facts | None], Check | None]] = MappingProxyType(
    {
        "compilers": _compilers,
        "sandbox": _sandbox,
        "memory": _memory,
        "disk": _disk,
        "torch": _torch,
        "graphics card": _device,
        "torch kernels": _targets,
    }
)
"""All checks by name, in the order in which they are shown."""
