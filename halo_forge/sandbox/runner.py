"""One run, seen from outside: feed it, listen to it, stop it when it talks too much."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from dataclasses import replace
from typing import Final

from halo_forge.sandbox.cell import Cell, Streams
from halo_forge.sandbox.deadline import Deadline
from halo_forge.sandbox.policy import Limits, Outcome, Status, Step, Warm
from halo_forge.sandbox.running import Report, Run, Trouble

__all__ = ["judge", "reap_supervisors", "run_step"]

_CHUNK: Final = 1 << 16
_GRACE: Final = 25.0
_LONG: Final = 3600.0
_FULL: Final = 0.75
_LAST_WORDS: Final = 300


class _Conversation:
    """The pipes of one run, served by a single poll loop so that neither side can block.

    Attributes:
        overflow: The program wrote more than its limit.
        stopped: Why the run was stopped; empty if it was not.
    """

    def __init__(self, step: Step, guards: tuple[int, ...]) -> None:
        self._step = step
        self._guards = guards
        self._unsent = memoryview(step.stdin)
        stdin, self._stdin = os.pipe()
        self._stdout, stdout = os.pipe()
        self._stderr, stderr = os.pipe()
        self._texts = {self._stdout: bytearray(), self._stderr: bytearray()}
        self._poller = select.poll()
        self._open = {self._stdin, self._stdout, self._stderr}
        self.streams = Streams(stdin, stdout, stderr)
        self.overflow = False
        self.stopped = ""
        self._give_up = math.inf

    def begin(self) -> None:
        """Close the child's ends and watch ours."""
        for descriptor in (self.streams.stdin, self.streams.stdout, self.streams.stderr):
            os.close(descriptor)
        for descriptor in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(descriptor, False)
        self._poller.register(self._stdin, select.POLLOUT)
        self._poller.register(self._stdout, select.POLLIN)
        self._poller.register(self._stderr, select.POLLIN)
        for guard in self._guards:
            self._poller.register(guard, 0)
        if not self._unsent:
            self._forget(self._stdin)

    def carry_on(self, run: Run, deadline: Deadline) -> Report:
        """Serve the pipes until the run has ended, or had to be stopped, and has reported.

        Raises:
            Trouble: If it does not, or if whoever wants the result is gone.
        """
        self._poller.register(run, select.POLLIN)
        ended = False
        while not ended:
            left = min(self._time_left(run, deadline), _LONG)
            ready = {descriptor for descriptor, _ in self._poller.poll(left * 1000 + 1)}
            ended = run.fileno() in ready
            for descriptor in ready - {run.fileno()}:
                self._serve(descriptor)
        report = self._take_report(run)
        for descriptor in self._open & self._texts.keys():
            self._drain(descriptor)
        return report

    def _time_left(self, run: Run, deadline: Deadline) -> float:
        """Stop the run when it is time to; return for how many seconds there is nothing to do."""
        if not self.stopped:
            self.stopped = "overflow" if self.overflow else deadline.reached()
            if not self.stopped:
                return deadline.left
            deadline.look()
            run.stop()
            self._give_up = time.monotonic() + _GRACE
        left = self._give_up - time.monotonic()
        if left <= 0:
            raise Trouble("a run did not end when it was told to")
        return left

    def _serve(self, descriptor: int) -> None:
        if descriptor in self._guards:
            raise Trouble("the client or the broker is gone")
        if descriptor == self._stdin:
            self._feed()
        else:
            self._listen(descriptor)

    def _take_report(self, run: Run) -> Report:
        try:
            return run.report()
        except Trouble as error:
            said = self.stderr[-_LAST_WORDS:].decode(errors="replace").strip()
            raise Trouble(f"{error}: {said!r}" if said else str(error)) from error

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
        self.overflow |= len(data) > room
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
    try:
        run = cell.start(step, talk.streams, writable=writable, warm=warm)
        with contextlib.closing(run):
            deadline = Deadline(step.limits, run.roots)
            talk.begin()
            report = talk.carry_on(run, deadline)
    finally:
        talk.end()
    wall, killed = deadline.elapsed, report.signal == signal.SIGKILL
    if killed:  # what was killed was not always waited for
        report = replace(report, cpu=max(report.cpu, deadline.spent))
    reason = talk.stopped if killed else ""
    if reason == "starved":
        got = f"a run got {report.cpu:.1f} s of a core in {wall:.0f} s"
        raise Trouble(f"the machine is too busy: {got}")
    stderr = talk.stderr + _explain(step, report)
    oom = cell.out_of_memory()
    return Outcome(
        status=judge(report, step.limits, stopped=reason, overflow=talk.overflow, oom=oom),
        code=report.code,
        signal=report.signal,
        stdout=talk.stdout,
        stderr=stderr[: step.limits.output],
        cpu=report.cpu,
        wall=wall,
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


def judge(report: Report, limits: Limits, *, stopped: str, overflow: bool, oom: bool) -> Status:
    """Name the way a run ended; a limit that was hit goes before the exit code.

    Args:
        report: What came of it.
        limits: What it might use.
        stopped: Why it was stopped; empty if it was not.
        overflow: It wrote too much.
        oom: The kernel killed for memory.
    """
    if overflow:
        return Status.OUTPUT_LIMIT
    if oom:
        return Status.MEMORY_LIMIT
    if report.cpu > limits.cpu or report.signal == signal.SIGXCPU:
        return Status.CPU_LIMIT
    if stopped:
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
