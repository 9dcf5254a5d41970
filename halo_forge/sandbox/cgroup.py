"""A memory limit for all processes of a worker's programs together; see cgroups(7)."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["MemoryGroup"]

_ROOT = Path("/sys/fs/cgroup")
_SLACK = 16 << 20  # page tables and other kernel memory that is charged too
_PATIENCE = 2.0
_PREFIX = "halo-forge-"


@dataclass(frozen=True, slots=True)
class _Layout:
    """The file names of one version of the interface."""

    version: int
    limit: str
    swap: str
    swap_value: bytes
    events: str


_V1 = _Layout(1, "memory.limit_in_bytes", "memory.swappiness", b"0", "memory.oom_control")
_V2 = _Layout(2, "memory.max", "memory.swap.max", b"0", "memory.events")


class MemoryGroup:
    """A control group of our own, reached through descriptors opened before the root changes.

    Attributes:
        entrance: Descriptor of ``cgroup.procs``; a process that writes ``0`` enters.
        description: What it is, for the table of guarantees.
    """

    def __init__(self, path: Path, layout: _Layout) -> None:
        self._path = path
        self.entrance = os.open(path / "cgroup.procs", os.O_WRONLY)
        self._limit = os.open(path / layout.limit, os.O_RDWR)
        self._events = os.open(path / layout.events, os.O_RDONLY)
        self._killed = self._count_kills()
        self.description = f"cgroup v{layout.version} memory controller"
        with contextlib.suppress(OSError):
            (path / layout.swap).write_bytes(layout.swap_value)

    @classmethod
    def create(cls) -> Self | None:
        """Make a group where this process may, or return ``None`` where no such place is."""
        for parent, layout in _candidates():
            _sweep(parent)
            path = parent / f"{_PREFIX}{os.getpid()}"
            try:
                path.mkdir()
            except OSError:
                continue
            try:
                group = cls(path, layout)
                group.limit(1 << 30)
            except OSError:
                path.rmdir()
            else:
                return group
        return None

    def limit(self, size: int) -> None:
        """Set the limit for all processes together.

        What the last program left in memory may still be on its way out; version 1 refuses a
        limit below what is in use.
        """
        give_up = time.monotonic() + _PATIENCE
        while True:
            try:
                os.pwrite(self._limit, str(size + _SLACK).encode(), 0)
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)
            else:
                return

    def killed_since_last_look(self) -> bool:
        """Return whether the kernel killed a process of the group for memory since last asked."""
        before, self._killed = self._killed, self._count_kills()
        return self._killed > before

    def _count_kills(self) -> int:
        for line in os.pread(self._events, 4096, 0).decode("ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
        return 0

    def close(self) -> None:
        """Remove the group; its processes must be dead, which may take a moment to show."""
        give_up = time.monotonic() + _PATIENCE
        while time.monotonic() < give_up:
            try:
                self._path.rmdir()
            except OSError:
                time.sleep(0.01)
            else:
                return


def _sweep(parent: Path) -> None:
    """Remove groups whose maker was killed before it could."""
    for path in parent.glob(f"{_PREFIX}*"):
        maker = path.name.removeprefix(_PREFIX)
        if maker.isdigit() and not Path("/proc", maker).exists():
            with contextlib.suppress(OSError):
                path.rmdir()


def _candidates() -> list[tuple[Path, _Layout]]:
    """Return where a group might be made, nearest to this process first."""
    found: list[tuple[Path, _Layout]] = []
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            found.append((_ROOT / "memory" / path.lstrip("/"), _V1))
        elif controllers == "":
            found.extend((parent, _V2) for parent in _delegated(path))
    return found


def _delegated(path: str) -> list[Path]:
    """Return the ancestors whose children get a memory controller and that we may write to.

    A group that holds processes may not hand its controllers on, so in version 2 the new group
    becomes a sibling of ours below the nearest ancestor that does.
    """
    base = _ROOT if (_ROOT / "cgroup.controllers").exists() else _ROOT / "unified"
    here, found = base / path.lstrip("/"), []
    while here.is_relative_to(base):
        with contextlib.suppress(OSError):
            handed_on = (here / "cgroup.subtree_control").read_text(encoding="ascii").split()
            if "memory" in handed_on and os.access(here, os.W_OK):
                found.append(here)
        here = here.parent
    return found
