"""How the end of a run is named."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from halo_forge.sandbox import Limits, Status
from halo_forge.sandbox.runner import judge
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
