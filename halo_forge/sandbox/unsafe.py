"""No confinement, only limits: for machines that offer nothing better, on explicit request."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

from halo_forge.sandbox import kernel
from halo_forge.sandbox.cell import LINK_FD, Cell, CellSettings, Streams
from halo_forge.sandbox.children import fork_child
from halo_forge.sandbox.policy import (
    BOX,
    ENVIRONMENT,
    GUARANTEES,
    Guarantee,
    Job,
    Level,
    Step,
    Warm,
)
from halo_forge.sandbox.scratch import erase, new_directory, place_files
from halo_forge.sandbox.supervisor import kill_group, supervise
from halo_forge.sandbox.worker import Restraint
from halo_forge.utils.typing import override

__all__ = ["UnsafeCell"]


class UnsafeCell(Cell):
    """A temporary directory, resource limits and a process group: the program sees the host.

    ``/box`` in an argument stands for the directory; nothing else is translated.
    """

    def __init__(self, settings: CellSettings) -> None:
        self._settings = settings
        self._base = Path(settings.scratch, f"worker-{os.getpid()}")
        self.box = self._base / "box"
        self._scratch = self._base / "tmp"

    @override
    def open(self) -> tuple[Guarantee, ...]:
        """Enter the confinement; see `Cell.open`."""
        self._base.mkdir(mode=0o700)
        by = "nothing (unsafe backend)"
        return tuple(Guarantee(name, Level.NONE, by, "not tried") for name in GUARANTEES)

    @override
    def place(self, job: Job) -> None:
        """Put the files of ``job`` in a new box."""
        self.box = new_directory(self._base, "box")
        place_files(self.box, job)

    @override
    def start(
        self, step: Step, streams: Streams, *, writable: bool, warm: Warm | None = None
    ) -> int:
        """Start a supervisor for ``step``."""
        self.box.chmod(0o755 if writable else 0o555)
        self._scratch = new_directory(self._base, "tmp")
        return fork_child(lambda: self._run(step, streams))

    def _run(self, step: Step, streams: Streams) -> None:
        streams.install()
        if sys.platform == "linux":
            kernel.adopt_orphans()
            kernel.die_with_parent()
        os.chdir(self.box)
        scratch = str(self._scratch)
        restraint = Restraint(
            privileges=False,
            niceness=self._settings.niceness,
            count_processes=False,
            environment={**ENVIRONMENT, "HOME": scratch, "TMPDIR": scratch},
        )
        supervise(self._translated(step), restraint, socket.socket(fileno=LINK_FD), kill_group)

    def _translated(self, step: Step) -> Step:
        box = str(self.box)
        argv = [
            box + word[len(BOX) :] if word == BOX or word.startswith(BOX + "/") else word
            for word in step.argv
        ]
        return replace(step, argv=tuple(argv))

    @override
    def clear(self) -> None:
        """Throw the box away."""
        for path in self._base.iterdir():
            erase(path)

    @override
    def close(self) -> None:
        """Leave nothing behind."""
        erase(self._base)
