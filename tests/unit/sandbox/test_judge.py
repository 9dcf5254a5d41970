"""How the end of a run is named."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import asdict, replace

import pytest

from halo_forge.sandbox import Limits, Status, Step, supervisor, wire
from halo_forge.sandbox.cell import Cell, Trouble
from halo_forge.sandbox.runner import judge, run_step
from halo_forge.sandbox.supervisor import Report

_LIMITS = Limits(cpu=2.0, memory=100 << 20, processes=8)
_FINE = Report(0, None, "ended", cpu=0.1, wall=0.1, rss=10 << 20, leftovers=0)


@pytest.mark.parametrize(
    ("changes", "overflow", "oom", "status"),
    [
        ({}, False, False, Status.OK),
        ({"code": 3}, False, False, Status.NONZERO),
        ({"code": None, "signal": signal.SIGSEGV}, False, False, Status.CRASH),
        ({"code": None, "signal": signal.SIGXFSZ}, False, False, Status.FILE_LIMIT),
        ({"code": None, "signal": signal.SIGXCPU}, False, False, Status.CPU_LIMIT),
        ({"cpu": 2.01}, False, False, Status.CPU_LIMIT),
        ({"reason": "timeout", "signal": 9}, False, False, Status.TIMEOUT),
        ({"reason": "timeout", "cpu": 2.5}, False, False, Status.CPU_LIMIT),
        ({"reason": "stopped"}, True, False, Status.OUTPUT_LIMIT),
        ({}, True, False, Status.OUTPUT_LIMIT),
        ({}, False, True, Status.MEMORY_LIMIT),
        ({"code": 1, "rss": 90 << 20}, False, False, Status.MEMORY_LIMIT),
        ({"rss": 90 << 20}, False, False, Status.OK),
        ({"code": 1, "leftovers": 7}, False, False, Status.PROCESS_LIMIT),
        ({"leftovers": 7}, False, False, Status.OK),
    ],
)
def test_a_limit_goes_before_the_exit_code(
    changes: dict[str, object], overflow: bool, oom: bool, status: Status
) -> None:
    """Each kind of end has its status, and a limit that was hit is never hidden by a code."""
    report = replace(_FINE, **changes)
    assert judge(report, _LIMITS, overflow=overflow, oom=oom) is status


def test_waiting_for_a_core_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that gains time by standing in line is given up at last, and not as timed out."""
    monkeypatch.setattr(supervisor, "_time_allowed", lambda *_: 1e9)
    ours, theirs = socket.socketpair()
    bell, rope = os.pipe()
    with ours, theirs, subprocess.Popen(["sleep", "60"]) as child:
        limits = Limits(cpu=1, wall=0.02)
        found = supervisor._await(child.pid, ours, bell, time.monotonic(), limits)
        child.kill()
    os.close(bell)
    os.close(rope)
    assert found == (None, "starved")


class _Said(Cell):
    """A cell whose supervisor says what it was told to."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def open(self):
        return ()

    def place(self, job) -> None:
        """Place nothing."""

    def start(self, step, streams, *, writable, warm=None) -> int:
        wire.send(streams.link, asdict(self._report))
        return 0

    def clear(self) -> None:
        """Clear nothing."""


def test_a_machine_that_is_too_busy_is_our_fault() -> None:
    """Of a program that was hardly let run nothing can be said; a timeout is a verdict."""
    starved = replace(_FINE, code=None, signal=9, reason="starved", wall=40.0)
    with pytest.raises(Trouble, match=r"too busy: a run got 0\.1 s of a core in 40 s"):
        run_step(_Said(starved), Step(("true",)), (), writable=False)
    late = run_step(_Said(replace(starved, reason="timeout")), Step(("true",)), (), writable=False)
    assert late.status is Status.TIMEOUT
