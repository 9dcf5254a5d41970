"""How the end of a run is named."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import psutil
import pytest

from halo_forge.sandbox import Limits, Status, Step, runner
from halo_forge.sandbox.cell import Cell
from halo_forge.sandbox.deadline import Deadline
from halo_forge.sandbox.runner import judge, run_step
from halo_forge.sandbox.running import LinkedRun, Report, Trouble, send_report

_LIMITS = Limits(cpu=2.0, memory=100 << 20, processes=8)
_FINE = Report(0, None, cpu=0.1, rss=10 << 20, leftovers=0)
_NOBODY = 1 << 30  # no process has such an id
_KILLED = replace(_FINE, code=None, signal=9)


@pytest.fixture(autouse=True)
def _no_waiting_for_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker waits for all children of its process group; here other tests have some."""
    monkeypatch.setattr(runner, "reap_supervisors", lambda: None)


@pytest.mark.parametrize(
    ("changes", "stopped", "oom", "status"),
    [
        ({}, "", False, Status.OK),
        ({"code": 3}, "", False, Status.NONZERO),
        ({"code": None, "signal": signal.SIGSEGV}, "", False, Status.CRASH),
        ({"code": None, "signal": signal.SIGXFSZ}, "", False, Status.FILE_LIMIT),
        ({"code": None, "signal": signal.SIGXCPU}, "", False, Status.CPU_LIMIT),
        ({"cpu": 2.01}, "", False, Status.CPU_LIMIT),
        ({"signal": 9}, "timeout", False, Status.TIMEOUT),
        ({"cpu": 2.5}, "timeout", False, Status.CPU_LIMIT),
        ({"signal": 9}, "overflow", False, Status.OUTPUT_LIMIT),
        ({}, "overflow", False, Status.OUTPUT_LIMIT),
        ({}, "", True, Status.MEMORY_LIMIT),
        ({"code": 1, "rss": 90 << 20}, "", False, Status.MEMORY_LIMIT),
        ({"rss": 90 << 20}, "", False, Status.OK),
        ({"code": 1, "leftovers": 7}, "", False, Status.PROCESS_LIMIT),
        ({"leftovers": 7}, "", False, Status.OK),
    ],
)
def test_a_limit_goes_before_the_exit_code(
    changes: dict[str, object], stopped: str, oom: bool, status: Status
) -> None:
    """Each kind of end has its status, and a limit that was hit is never hidden by a code."""
    report = replace(_FINE, **changes)
    overflow = stopped == "overflow"
    found = judge(report, _LIMITS, stopped=stopped, overflow=overflow, oom=oom)
    assert found is status


def test_waiting_for_a_core_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that gains time by standing in line is given up at last, and not as timed out."""
    monkeypatch.setattr(Deadline, "_time_allowed", lambda _: 1e9)
    deadline = Deadline(Limits(cpu=1, wall=0.02), ())
    assert deadline.reached() == ""
    found = set()
    while "starved" not in found:
        found.add(deadline.reached())
    assert found == {"", "starved"}
    assert deadline.elapsed >= 0.02 * 8


def test_a_process_that_computes_is_seen_to() -> None:
    """The CPU time of a run counts its children, living and ended, and decides over waiting."""
    loop = "while True: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {loop!r}])"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        deadline = Deadline(Limits(cpu=0.3, wall=0.6), (child.pid,))
        while not deadline.reached():
            pass
        for process in (*psutil.Process(child.pid).children(), child):
            process.kill()
    assert deadline.spent > 0.1


def test_waits_of_parent_and_child_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What starts a program waits for a core before it does; brothers wait at the same time."""
    waits = {1: 1.0, 2: 0.1, 3: 1.5, 4: 1.9}
    clock = iter([0.0, 0.5, 3.4, 3.6])
    here = "halo_forge.sandbox.deadline."
    monkeypatch.setattr(here + "_children", {1: [2, 3], 2: [4], 3: [], 4: []}.get)
    monkeypatch.setattr(here + "_run_delay", waits.get)
    monkeypatch.setattr(here + "_cpu_time", lambda _: 0.0)
    monkeypatch.setattr(here + "time.monotonic", lambda: next(clock))
    deadline = Deadline(Limits(cpu=1, wall=0.5), (1,))
    assert [deadline.reached() for _ in range(3)] == ["", "", "timeout"]


class _Said(Cell):
    """A cell whose runs say what they were told to, at once or when they are stopped."""

    def __init__(self, report: Report, *, late: bool = False) -> None:
        self._report = report
        self._late = late

    def open(self):
        return ()

    def place(self, job) -> None:
        """Place nothing."""

    def start(self, step, streams, *, writable, warm=None) -> LinkedRun:
        ours, theirs = socket.socketpair()

        def supervise() -> None:
            with theirs:
                if self._late:
                    theirs.recv(1)
                send_report(theirs, self._report)

        threading.Thread(target=supervise).start()
        return LinkedRun(ours, (_NOBODY,))

    def clear(self) -> None:
        """Clear nothing."""


@pytest.mark.parametrize("reason", ["starved", "timeout"])
def test_a_machine_that_is_too_busy_is_our_fault(
    monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Of a program that was hardly let run nothing can be said; a timeout is a verdict."""
    monkeypatch.setattr(Deadline, "reached", lambda _: reason)
    cell = _Said(_KILLED, late=True)
    if reason == "starved":
        with pytest.raises(Trouble, match=r"too busy: a run got 0\.1 s of a core in 0 s"):
            run_step(cell, Step(("true",)), (), writable=False)
    else:
        assert run_step(cell, Step(("true",)), (), writable=False).status is Status.TIMEOUT


def test_what_ended_by_itself_was_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is done at the very moment of its deadline keeps what it achieved."""
    monkeypatch.setattr(Deadline, "reached", lambda _: "timeout")
    found = run_step(_Said(_FINE, late=True), Step(("true",)), (), writable=False)
    assert found.status is Status.OK


def test_a_supervisor_that_dies_is_our_fault() -> None:
    """No report is no verdict."""
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(Trouble, match="the supervisor of a run died"):
        LinkedRun(ours, (_NOBODY,)).report()
