"""No confinement, only limits: for machines that offer nothing better, on explicit request."""

from __future__ import annotations

import os
import socket
import sys

from halo_forge.sandbox import kernel
from halo_forge.sandbox.cell import LINK_FD, Streams
from halo_forge.sandbox.directory import DirectoryCell
from halo_forge.sandbox.killing import kill_group
from halo_forge.sandbox.policy import GUARANTEES, Guarantee, Level, Step, Warm
from halo_forge.sandbox.running import LinkedRun, Run
from halo_forge.sandbox.supervisor import supervise
from halo_forge.sandbox.worker import Restraint, become, executing, limit_rows
from halo_forge.utils.typing import override

__all__ = ["UnsafeCell"]


class UnsafeCell(DirectoryCell):
    """Directories, resource limits and a process group: the program sees the host."""

    @override
    def open(self) -> tuple[Guarantee, ...]:
        """Enter the confinement; see `Cell.open`."""
        self._base.mkdir(mode=0o700)
        by = "nothing (unsafe backend)"
        return tuple(Guarantee(name, Level.NONE, by, "not tried") for name in GUARANTEES)

    @override
    def start(
        self, step: Step, streams: Streams, *, writable: bool, warm: Warm | None = None
    ) -> Run:
        """Start ``step``; see `Cell.start`."""
        self.box.chmod(0o755 if writable else 0o555)
        self._renew_scratch()
        return LinkedRun.fork(lambda link: self._run(step, streams, link))

    def _run(self, step: Step, streams: Streams, link: int) -> None:
        streams.install(link)
        if sys.platform == "linux":
            kernel.adopt_orphans()
            kernel.die_with_parent()
        os.chdir(self.box)
        restraint = Restraint(privileges=False, niceness=self._settings.niceness)
        limits = limit_rows(step.limits, processes=False)
        begin = executing(self._translated(step).argv, self._environment())
        supervise(
            lambda errors: become(begin, limits, restraint, errors),
            socket.socket(fileno=LINK_FD),
            kill_group,
        )
