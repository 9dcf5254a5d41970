"""One run, seen from outside: feed it, listen to it, stop it when it talks too much."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import Final

from halo_forge.sandbox import wire
from halo_forge.sandbox.cell import Cell, Streams, Trouble
from halo_forge.sandbox.policy import Limits, Outcome, Status, Step, Warm
from halo_forge.sandbox.supervisor import STARVATION_FACTOR, Report

__all__ = ["judge", "reap_supervisors", "run_step"]

_CHUNK: Final = 1 << 16
_GRACE: Final = 25.0
_FULL: Final = 0.75
_LAST_WORDS: Final = 300


class _Conversation:
    """The pipes of one run, served by a single poll loop so that neither side can block.

    Attributes:
        overflow: The program wrote more than its limit.
        report: The supervisor's last word, once it has come.
    """

    def __init__(self, step: Step, guards: tuple[int, ...]) -> None:
        self._step = step
        self._guards = guards
        self._unsent = memoryview(step.stdin)
        stdin, self._stdin = os.pipe()
        self._stdout, stdout = os.pipe()
        self._stderr, stderr = os.pipe()
        self._link, theirs = socket.socketpair()
        self._texts = {self._stdout: bytearray(), self._stderr: bytearray()}
        self._poller = select.poll()
        self._open = {self._stdin, self._stdout, self._stderr}
        self.streams = Streams(stdin, stdout, stderr, theirs)
        self.overflow = False
        self.report: Report | None = None

    def begin(self) -> None:
        """Close the child's ends and watch ours."""
        for descriptor in (self.streams.stdin, self.streams.stdout, self.streams.stderr):
            os.close(descriptor)
        self.streams.link.close()
        for descriptor in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(descriptor, False)
        self._poller.register(self._stdin, select.POLLOUT)
        self._poller.register(self._stdout, select.POLLIN)
        self._poller.register(self._stderr, select.POLLIN)
        self._poller.register(self._link, select.POLLIN)
        for guard in self._guards:
            self._poller.register(guard, 0)
        if not self._unsent:
            self._forget(self._stdin)

    def carry_on(self) -> None:
        """Serve the pipes until the supervisor has reported.

        Raises:
            Trouble: If the supervisor dies or hangs, or if whoever wants the result is gone.
        """
        patience = time.monotonic() + self._step.limits.wall_seconds * STARVATION_FACTOR + _GRACE
        while self.report is None:
            left = patience - time.monotonic()
            if left <= 0:
                raise Trouble("the supervisor of a run did not answer")
            for descriptor, _ in self._poller.poll(left * 1000):
                self._serve(descriptor)
        for descriptor in self._open & self._texts.keys():
            self._drain(descriptor)

    def _serve(self, descriptor: int) -> None:
        if descriptor in self._guards:
            raise Trouble("the client or the broker is gone")
        if descriptor == self._stdin:
            self._feed()
        elif descriptor in self._texts:
            self._listen(descriptor)
        else:
            self.report = self._take_report()

    def _take_report(self) -> Report:
        try:
            fields, _ = wire.receive(self._link)
        except (wire.ChannelClosed, OSError) as error:
            said = self.stderr[-_LAST_WORDS:].decode(errors="replace").strip()
            raise Trouble(f"the supervisor of a run died {said!r}") from error
        if "fault" in fields:
            raise Trouble(f"could not prepare a run: {fields['fault']}")
        fields["failure"] = tuple(fields["failure"])
        return Report(**fields)

    def _feed(self) -> None:
        try:
            sent = os.write(self._stdin, self._unsent[:_CHUNK])
        except BlockingIOError:
            return
        except BrokenPipeError:
            sent = len(self._unsent)
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._forget(self._stdin)

    def _listen(self, descriptor: int) -> bool:
        """Read once; return whether there may be more to read now."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._forget(descriptor)
            return False
        text, room = self._texts[descriptor], self._step.limits.output
        room -= len(text)
        text += data[:room]
        if len(data) > room and not self.overflow:
            self.overflow = True
            self._link.shutdown(socket.SHUT_WR)
        return True

    def _drain(self, descriptor: int) -> None:
        while self._listen(descriptor):
            pass

    def _forget(self, descriptor: int) -> None:
        self._poller.unregister(descriptor)
        self._open.discard(descriptor)
        os.close(descriptor)

    @property
    def stdout(self) -> bytes:
        """What the program said, within its limit."""
        return bytes(self._texts[self._stdout])

    @property
    def stderr(self) -> bytes:
        """What the program complained about, within its limit."""
        return bytes(self._texts[self._stderr])

    def end(self) -> None:
        """Close what is still open."""
        self._link.close()
        while self._open:
            os.close(self._open.pop())


def run_step(
    cell: Cell,
    step: Step,
    guards: tuple[int, ...],
    *,
    writable: bool,
    warm: Warm | None = None,
) -> Outcome:
    """Run ``step`` in ``cell`` and return what came of it.

    Args:
        cell: The confinement, with the files of the job in place.
        step: What to run.
        guards: Descriptors whose hang-up means that nobody waits for the result any more.
        writable: Whether the box may be written to.
        warm: What the step begins with.

    Raises:
        Trouble: If the fault is ours, also when the program is not there to be run.
    """
    reap_supervisors()
    talk = _Conversation(step, guards)
    child = cell.start(step, talk.streams, writable=writable, warm=warm)
    try:
        talk.begin()
        talk.carry_on()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        talk.end()
    report = talk.report
    if report is None:
        raise Trouble("a run ended without a report")
    if report.reason == "starved" and not talk.overflow:
        got = f"a run got {report.cpu:.1f} s of a core in {report.wall:.0f} s"
        raise Trouble(f"the machine is too busy: {got}")
    stderr = talk.stderr + _explain(step, report)
    status = judge(report, step.limits, overflow=talk.overflow, oom=cell.out_of_memory())
    return Outcome(
        status=status,
        code=report.code,
        signal=report.signal,
        stdout=talk.stdout,
        stderr=stderr[: step.limits.output],
        cpu=report.cpu,
        wall=report.wall,
        rss=report.rss,
        leftovers=report.leftovers,
    )


def reap_supervisors() -> None:
    """Wait for supervisors that have reported, whose namespaces the kernel takes down.

    Not done before a result is on its way, since the taking down takes a third of a short run. They
    are the children in our process group; the nursery has a group of its own.
    """
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(0, 0)


def _explain(step: Step, report: Report) -> bytes:
    """Return why a file of the job could not be executed, as a shell would say it.

    Raises:
        Trouble: If the program is not one of the job's own files: then the tool is missing, or
            our preparation failed, and the job is not to blame.
    """
    if not report.failure:
        return b""
    stage, _, text = report.failure
    name = step.argv[0]
    if stage != "exec":
        raise Trouble(f"could not prepare a run: {text}")
    if "/" not in name or (name.startswith("/") and not name.startswith("/box/")):
        raise Trouble(f"cannot execute {name!r} inside the sandbox: {text}")
    return f"{name}: {text}\n".encode(errors="replace")


def judge(report: Report, limits: Limits, *, overflow: bool, oom: bool) -> Status:
    """Name the way a run ended; a limit that was hit goes before the exit code."""
    if overflow:
        return Status.OUTPUT_LIMIT
    if oom:
        return Status.MEMORY_LIMIT
    if report.cpu > limits.cpu or report.signal == signal.SIGXCPU:
        return Status.CPU_LIMIT
    if report.reason != "ended":
        return Status.TIMEOUT
    if report.code == 0:
        return Status.OK
    return _judge_failure(report, limits)


def _judge_failure(report: Report, limits: Limits) -> Status:
    """Tell a limit that the program itself noticed (refused memory, refused fork) from a bug.

    The kernel refuses and says nothing to us, so the sign is a failure with the budget nearly
    used up.
    """
    if report.signal == signal.SIGXFSZ:
        return Status.FILE_LIMIT
    if report.rss >= _FULL * limits.memory:
        return Status.MEMORY_LIMIT
    if report.leftovers >= max(2, limits.processes - 1):
        return Status.PROCESS_LIMIT
    return Status.NONZERO if report.signal is None else Status.CRASH
