"""A run under way, as its worker sees it: it can be stopped, and in the end it reports."""

from __future__ import annotations

import os
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from halo_forge.sandbox import wire
from halo_forge.sandbox.children import fork_child
from halo_forge.utils.typing import override

__all__ = ["Failure", "LinkedRun", "Report", "Run", "Trouble", "send_report"]

Failure = tuple[str, int, str] | tuple[()]
"""Why a program could not be started: stage, errno and text; else empty."""


class Trouble(Exception):
    """The sandbox could not do its own work; becomes a `SandboxFault` in the client."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of the processes of a run, all of which are dead and reaped by now.

    Attributes:
        code: Exit code of the program, when it exited.
        signal: Signal that ended it, when one did.
        cpu: CPU seconds of all processes of the run that were waited for.
        rss: Largest resident size in bytes.
        leftovers: Processes killed after the program had ended.
        failure: Why the program could not be started: stage, errno and text; else empty.
    """

    code: int | None
    signal: int | None
    cpu: float
    rss: int
    leftovers: int
    failure: Failure = ()

    @classmethod
    def of(
        cls, status: int, *, cpu: float, rss: int, leftovers: int = 0, failure: Failure = ()
    ) -> Report:
        """Return the report on a program that ended with a status of waitpid(2)."""
        killed = os.WIFSIGNALED(status)
        code = None if killed else os.WEXITSTATUS(status)
        return cls(code, os.WTERMSIG(status) if killed else None, cpu, rss, leftovers, failure)


class Run(ABC):
    """The processes of a run.

    Attributes:
        roots: Process ids above or beside which none of the run's processes stands.
    """

    roots: tuple[int, ...]

    @abstractmethod
    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is something to report."""

    @abstractmethod
    def stop(self) -> None:
        """Have all processes of the run killed; the report follows."""

    @abstractmethod
    def report(self) -> Report:
        """Wait for the end and return what came of it; called once.

        Raises:
            Trouble: If the run was not prepared, or nobody is left to report.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of everything, and kill what has not reported."""


class LinkedRun(Run):
    """A run that another process supervises, with which we speak over a link.

    Args:
        link: Our end. Its end is the order to stop; the report comes over it.
        roots: See `Run`.
    """

    def __init__(self, link: socket.socket, roots: tuple[int, ...]) -> None:
        self.roots = roots
        self._link = link
        self._reported = False

    @classmethod
    def fork(cls, supervise: Callable[[int], None]) -> LinkedRun:
        """Fork a supervisor, which is called with the descriptor of its end of the link."""
        ours, theirs = socket.socketpair()
        with theirs:
            child = fork_child(lambda: supervise(theirs.fileno()))
        return cls(ours, (child,))

    @override
    def fileno(self) -> int:
        """Return the link's descriptor."""
        return self._link.fileno()

    @override
    def stop(self) -> None:
        """Give the order to stop."""
        self._link.shutdown(socket.SHUT_WR)

    @override
    def report(self) -> Report:
        """Receive the report; see `Run.report`."""
        try:
            fields, _ = wire.receive(self._link)
        except (wire.ChannelClosed, OSError) as error:
            raise Trouble("the supervisor of a run died") from error
        self._reported = True
        if "fault" in fields:
            raise Trouble(f"could not prepare a run: {fields['fault']}")
        return Report(**{**fields, "failure": tuple(fields["failure"])})

    @override
    def close(self) -> None:
        """Close the link, and kill the supervisor where it has not reported."""
        self._link.close()
        if not self._reported:
            os.kill(self.roots[0], signal.SIGKILL)


def send_report(link: socket.socket, report: Report) -> None:
    """Send what `LinkedRun.report` receives."""
    wire.send(link, {name: getattr(report, name) for name in Report.__slots__})
