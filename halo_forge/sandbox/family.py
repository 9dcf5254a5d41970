"""A run in a PID namespace of its own: the program, and a process 1 that waits to kill the rest.

The process that starts a run is the program's parent, though not in its namespace, so that nobody
in between need be told anything. Process 1 does next to nothing, which makes it cheap to fork.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import IO

from halo_forge.sandbox import kernel
from halo_forge.sandbox.children import fork_child
from halo_forge.sandbox.killing import kill_namespace
from halo_forge.sandbox.running import Report, Run
from halo_forge.sandbox.worker import why_not_started
from halo_forge.utils.typing import override

__all__ = ["Family"]

_MOST = 255


class Family(Run):
    """A run whose program is a child of this process.

    Args:
        home: Descriptor of the PID namespace of this process.
        work: Becomes the program; called in the child with a descriptor on which to say why not,
            closed when the program begins.
    """

    def __init__(self, home: int, work: Callable[[int], None]) -> None:
        kernel.setns(home, kernel.CLONE_NEWPID)
        kernel.unshare(kernel.CLONE_NEWPID)
        order, self._hold = os.pipe()
        reader, errors = os.pipe()
        self._errors: IO[bytes] = open(reader, "rb", buffering=0)  # noqa: PTH123, SIM115
        try:
            # Inherited by process 1, whose orphans are then reaped by nobody's effort.
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            first = fork_child(lambda: _be_first(order))
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            program = fork_child(lambda: work(errors))
        finally:
            os.close(order)
            os.close(errors)
        self.roots = (first, program)
        self._ended = os.pidfd_open(program)

    @override
    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the program ends; see pidfd_open(2)."""
        return self._ended

    @override
    def stop(self) -> None:
        """Have process 1 kill all others."""
        if self._hold >= 0:
            os.close(self._hold)
            self._hold = -1

    @override
    def report(self) -> Report:
        """Wait for the program, then for process 1, whose exit code says how many it killed."""
        first, program = self.roots
        _, status, own = os.wait4(program, 0)
        failure = why_not_started(self._errors.read())
        self.stop()
        _, end, others = os.wait4(first, 0)
        self.roots = ()
        leftovers = os.WEXITSTATUS(end) if os.WIFEXITED(end) else 0
        cpu = sum(use.ru_utime + use.ru_stime for use in (own, others))
        rss = max(own.ru_maxrss, others.ru_maxrss) << 10
        return Report.of(status, cpu=cpu, rss=rss, leftovers=leftovers, failure=failure)

    @override
    def close(self) -> None:
        """Close everything; what has not ended is killed and waited for."""
        self.stop()
        for process in reversed(self.roots):
            os.waitpid(process, 0)
        self.roots = ()
        os.close(self._ended)
        self._errors.close()


def _be_first(order: int) -> None:
    """Be process 1: at the end of ``order`` kill all that live, and say how many they were."""
    os.closerange(0, order)
    os.closerange(order + 1, 1 << 16)
    os.read(order, 1)
    try:
        os.kill(-1, 0)
    except ProcessLookupError:
        os._exit(0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os._exit(min(kill_namespace(0), _MOST))
