"""What a worker needs from a backend: a place for the files and a way to start a run."""

from __future__ import annotations

import fcntl
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from halo_forge.sandbox.policy import Guarantee, Job, Step, Warm
from halo_forge.sandbox.running import Run
from halo_forge.sandbox.shelf import Shelf

__all__ = ["KEPT_FD", "LINK_FD", "Cell", "CellSettings", "Streams"]


LINK_FD: Final = 3
"""Where the first process of a run finds what it reports on."""

KEPT_FD: Final = 4
"""Where it finds the first of what else it keeps."""

_ABOVE_ALL = 1 << 16


@dataclass(frozen=True, slots=True)
class CellSettings:
    """What the client decides for all workers.

    Attributes:
        index: Number of this worker, from 0.
        niceness: Added to the priority of every program.
        paths: Directories and files that are visible, read-only, inside.
        python: Interpreter for helpers that run inside.
        scratch: Directory on the host that the client removes at the end.
        shelf_room: Bytes that all workers together may keep there for builds.
    """

    index: int
    niceness: int
    paths: list[str]
    python: str
    scratch: str
    shelf_room: int


@dataclass(frozen=True, slots=True)
class Streams:
    """The child's ends of the pipes of one run."""

    stdin: int
    stdout: int
    stderr: int

    def install(self, *keep: int) -> None:
        """Make these the descriptors 0 to 2 of this process, then ``keep``, and close all others.

        A descriptor left open here is a hole: a program waits for ever on its standard input
        while any process holds the other end.
        """
        wanted = (self.stdin, self.stdout, self.stderr, *keep)
        if min(wanted) < len(wanted):  # one stands where another is to be
            wanted = tuple(fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, len(wanted)) for one in wanted)
        for target, source in enumerate(wanted):
            os.dup2(source, target, inheritable=target < LINK_FD)
        os.closerange(len(wanted), _ABOVE_ALL)


class Cell(ABC):
    """One worker's confinement, entered once and used for many jobs.

    Attributes:
        shelf: Where builds find what is kept for them, if the backend has such a place.
        box: Where the files of the present job lie, as the worker sees them.
    """

    shelf: Shelf | None = None
    box: Path

    @abstractmethod
    def open(self) -> tuple[Guarantee, ...]:
        """Enter the confinement; raise `running.Trouble` or `OSError` where the host refuses it."""

    @abstractmethod
    def place(self, job: Job) -> None:
        """Put the files of ``job`` in a new, empty box."""

    @abstractmethod
    def start(
        self, step: Step, streams: Streams, *, writable: bool, warm: Warm | None = None
    ) -> Run:
        """Start ``step``.

        Args:
            step: What to run.
            streams: Its ends of the pipes, still open in this process.
            writable: Whether the box may be written to.
            warm: What the step begins with; used where the backend can.
        """

    @abstractmethod
    def clear(self) -> None:
        """Throw the box away with everything in it."""

    def out_of_memory(self) -> bool:
        """Return whether the kernel killed for memory since the last call."""
        return False

    def close(self) -> None:
        """Leave nothing behind on the host."""
