"""Many threads, few workers; and a machine that is too busy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from halo_forge.config.sections import VerifierSettings
from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox import Job, Limits, Status, Step, client
from halo_forge.sandbox.backends import open_backend
from halo_forge.sandbox.client import BrokerSandbox
from halo_forge.sandbox.conformance import run_python
from halo_forge.utils.kernel_facts import available_cores
from tests.needs import lacking


def test_threads_share_the_workers(sandbox: BrokerSandbox) -> None:
    """Twelve threads on two workers each get the answer to their own question."""
    with ThreadPoolExecutor(12) as pool:
        outcomes = pool.map(lambda n: run_python(sandbox, f"print({n} ** 2)"), range(24))
    assert [int(outcome.stdout) for outcome in outcomes] == [n * n for n in range(24)]


def test_interrupted_job_does_not_answer_the_next(
    sandbox: BrokerSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an interrupt in the middle of a job, no later job gets that job's answer."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(client.wire, "receive", interrupt)
            with pytest.raises(KeyboardInterrupt):
                run_python(sandbox, "print('stale')")
    assert {run_python(sandbox, "print('fresh')").stdout for _ in range(3)} == {b"fresh\n"}


def test_stop_on_skips_the_rest(sandbox: BrokerSandbox) -> None:
    """After the first run that is not ok the rest is left out, if so wished."""
    good, bad = Step(("/bin/true",)), Step(("/bin/false",))
    stopped = sandbox.run(Job(runs=(good, bad, good), stop_on=frozenset({Status.NONZERO})))
    assert [run.status for run in stopped.runs] == ["ok", "nonzero"]
    full = sandbox.run(Job(runs=(good, bad, good)))
    assert [run.status for run in full.runs] == ["ok", "nonzero", "ok"]


def test_missing_artefact_is_the_programs_failure(sandbox: BrokerSandbox) -> None:
    """A build that made no program leads to a failed run, with the reason on stderr."""
    (run,) = sandbox.run(Job(build=Step(("/bin/true",)), runs=(Step(("./prog",)),))).runs
    assert run.status is Status.NONZERO
    assert b"./prog" in run.stderr


def test_starved_program_is_not_timed_out(sandbox: BrokerSandbox) -> None:
    """A program that waits for a core, not for a clock, gets the time it was kept waiting."""
    if sandbox.backend == "unsafe":
        pytest.skip("one process is enough to see it where it matters")
    spin = "import sys, time\nwhile time.process_time() < 0.8: pass\nprint('done')"
    with _burning(4 * available_cores()):
        outcome = run_python(sandbox, spin, limits=Limits(cpu=2.0, wall=1.5))
    assert (outcome.status, outcome.stdout) == ("ok", b"done\n")


def test_program_that_steps_back_is_not_timed_out() -> None:
    """At the most that settings allow, beside a decoder on every core, it still gets its time."""
    spin = "import time\nwhile time.process_time() < 0.15: pass\nprint('done')"
    try:
        stepped_back = open_backend("namespaces", workers=1, niceness=_most_niceness())
    except SandboxFault as fault:
        lacking(str(fault))
    with stepped_back, _burning(available_cores()):
        outcome = run_python(stepped_back, spin, limits=Limits(cpu=1.0))
    assert (outcome.status, outcome.stdout) == ("ok", b"done\n")


def _most_niceness() -> int:
    bounds = VerifierSettings.model_fields["niceness"].metadata
    return next(int(one.le) for one in bounds if hasattr(one, "le"))


@contextmanager
def _burning(processes: int) -> Iterator[None]:
    """Keep cores busy."""
    burn = [sys.executable, "-c", "while True: pass"]
    burners = [subprocess.Popen(burn) for _ in range(processes)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
