"""A run in a PID namespace of its own: process 1 forks the program, and kills the rest at its end.

Process 1 does next to nothing, for it is a fork of Python, where all that is touched is copied.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
from collections.abc import Callable
from typing import NoReturn

from halo_forge.sandbox import kernel
from halo_forge.sandbox.children import fork_child
from halo_forge.sandbox.killing import kill_namespace, reap_the_dead
from halo_forge.sandbox.running import Report, Run, Trouble
from halo_forge.sandbox.worker import why_not_started
from halo_forge.utils.typing import override

__all__ = ["Family"]

_WORDS = struct.Struct("=idqq")  # wait status, CPU seconds, resident bytes, leftovers


class Family(Run):
    """A run whose process 1 is a child of this process.

    Call `worker.inherit_signals` before, so that no program can disturb it.

    Args:
        home: Descriptor of the PID namespace of this process.
        work: Becomes the program; called in its process with a descriptor on which to say why not,
            closed when the program begins.
    """

    def __init__(self, home: int, work: Callable[[int], None]) -> None:
        kernel.setns(home, kernel.CLONE_NEWPID)
        kernel.unshare(kernel.CLONE_NEWPID)
        self._report, report = os.pipe()
        self._errors, errors = os.pipe()

        def be_first() -> None:
            program = fork_child(lambda: work(errors))
            os.closerange(0, report)
            os.closerange(report + 1, 1 << 16)
            _see_through(program, report)

        try:
            self.roots = (fork_child(be_first),)
        finally:
            os.close(report)
            os.close(errors)

    @override
    def fileno(self) -> int:
        """Return the descriptor on which process 1 reports."""
        return self._report

    @override
    def stop(self) -> None:
        """Kill process 1, and with it the kernel kills all others; see pid_namespaces(7)."""
        for process in self.roots:
            os.kill(process, signal.SIGKILL)

    @override
    def report(self) -> Report:
        """Wait for process 1 and return its report, or that it was killed."""
        said = os.read(self._report, _WORDS.size)
        _, end, usage = os.wait4(self.roots[0], 0)
        self.roots = ()
        failure = why_not_started(os.read(self._errors, 1 << 16))
        if said:
            status, cpu, rss, leftovers = _WORDS.unpack(said)
            return Report.of(status, cpu=cpu, rss=rss, leftovers=leftovers, failure=failure)
        if not os.WIFSIGNALED(end):
            raise Trouble("process 1 of a run ended without a report")
        cpu, rss = usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10
        return Report.of(end, cpu=cpu, rss=rss, failure=failure)

    @override
    def close(self) -> None:
        """Close everything; what has not reported is killed and waited for."""
        self.stop()
        for process in self.roots:
            os.waitpid(process, 0)
        self.roots = ()
        os.close(self._report)
        os.close(self._errors)


def _see_through(program: int, report: int) -> NoReturn:
    """As process 1, wait for the program, kill and reap all others, and report."""
    child, status = 0, 0
    while child != program:  # orphans come here too
        child, status = os.waitpid(-1, 0)
    leftovers = 0
    try:
        os.kill(-1, 0)
        reap_the_dead()
        leftovers = kill_namespace(program)
    except ProcessLookupError:
        pass
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, rss = usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10
    os.write(report, _WORDS.pack(status, cpu, rss, leftovers))
    os._exit(0)
