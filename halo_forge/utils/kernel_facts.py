"""What the kernel says about this process: cores and control groups, with nothing but the library.

The sandbox uses it in interpreters that have no package of ours beside it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "ROOT",
    "available_cores",
    "control_groups",
    "kernel_text",
    "memory_limits",
    "workers_for_all_cores",
]

ROOT = Path("/")
"""Where ``proc`` and ``sys`` lie; tests put a recorded tree in its place."""


def available_cores(root: Path = ROOT) -> int:
    """Return how many cores this process may use, by affinity and control group; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    for group in control_groups(root, "cpu"):
        # Version 2 has both in one file; "max" and version 1's -1 mean no limit.
        quota, _, period = kernel_text(group / "cpu.max").partition(" ")
        quota = quota or kernel_text(group / "cpu.cfs_quota_us")
        period = period or kernel_text(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def workers_for_all_cores(root: Path = ROOT) -> int:
    """Return how many programs to have under way at one time: one more than there are cores.

    While a program starts or its output is compared, its worker and whoever asked for the verdict
    wait for each other; the one more has that core meanwhile (`bench/verify.py`).
    """
    return available_cores(root) + 1


def control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of its parents, both versions."""
    for line in kernel_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / controllers
        here = top / path.lstrip("/")
        yield from (folder for folder in (here, *here.parents) if folder.is_relative_to(top))


def memory_limits(root: Path = ROOT) -> Iterator[tuple[Path, int]]:
    """Yield the control groups around this process that limit memory, and their bytes."""
    for group in control_groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = kernel_text(group / name)
            if limit.isdigit():
                yield group, int(limit)


def kernel_text(path: Path) -> str:
    """Return a kernel file's text, or nothing when it is absent or unreadable."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
