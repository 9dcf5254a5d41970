"""When everything is busy: an honest program is not taken for a slow one."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox import Limits
from halo_forge.sandbox.backends import CONFINED, open_backend
from halo_forge.sandbox.conformance import run_python
from tests.needs import lacking

_SPIN = "import time\nwhile time.process_time() < 0.4: pass\nprint('done')"


@pytest.mark.parametrize("backend", CONFINED)
def test_four_fifths_of_the_limit_are_enough(backend: str) -> None:
    """With two workers for each core, a program at 80 % of its CPU limit is ok every time."""
    workers = 2 * len(os.sched_getaffinity(0))
    try:
        sandbox = open_backend(backend, workers=workers)
    except SandboxFault as fault:
        lacking(str(fault))
    with sandbox, ThreadPoolExecutor(workers) as pool:
        limits = Limits(cpu=0.5)
        jobs = [pool.submit(run_python, sandbox, _SPIN, limits=limits) for _ in range(2 * workers)]
        outcomes = [job.result() for job in jobs]
    assert {(outcome.status, outcome.stdout) for outcome in outcomes} == {("ok", b"done\n")}
