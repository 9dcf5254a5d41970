"""When a part of the sandbox is killed: nobody is left, and no job is judged by accident."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox import Job, JobResult, Limits, Step, python_executable
from halo_forge.sandbox.backends import CONFINED, open_backend
from halo_forge.sandbox.client import BrokerSandbox
from tests.needs import lacking

_OPENER = """
import sys, threading, time
from halo_forge.sandbox import Job, Limits, Step
from halo_forge.sandbox.backends import open_backend
sandbox = open_backend(sys.argv[1], workers=2)
job = Job(runs=(Step(("/bin/sleep", "600"), limits=Limits(wall=600)),))
for _ in range(2):
    threading.Thread(target=sandbox.run, args=(job,), daemon=True).start()
print(sandbox.broker_pid, flush=True)
time.sleep(600)
"""


def _wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def _below(broker: int) -> list[psutil.Process]:
    try:
        return psutil.Process(broker).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _sleepers(broker: int) -> int:
    names = []
    for process in _below(broker):
        try:
            names.append(process.name())
        except psutil.NoSuchProcess:
            continue
    return names.count("sleep")


def _gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("backend", CONFINED)
def test_killed_trainer_leaves_no_process(backend: str, tmp_path: Path) -> None:
    """SIGKILL of the process that opened the sandbox ends broker, workers and programs."""
    with subprocess.Popen(
        [sys.executable, "-c", _OPENER, backend], stdout=subprocess.PIPE, cwd=tmp_path
    ) as opener:
        assert opener.stdout is not None
        line = opener.stdout.readline()
        if not line:
            lacking(f"{backend} does not work here")
        broker = int(line)
        assert _wait_until(lambda: _sleepers(broker) == 2)
        everyone = [psutil.Process(broker), *_below(broker)]
        opener.kill()
        opener.wait()
    assert _wait_until(lambda: all(map(_gone, everyone)))


@pytest.fixture(params=CONFINED)
def fragile(request: pytest.FixtureRequest) -> Iterator[BrokerSandbox]:
    """A sandbox that a test may break."""
    try:
        sandbox = open_backend(request.param, workers=1)
    except SandboxFault as fault:
        lacking(str(fault))
    with sandbox:
        yield sandbox


def _in_thread(sandbox: BrokerSandbox, job: Job) -> tuple[threading.Thread, list[object]]:
    answers: list[object] = []

    def work() -> None:
        try:
            answers.append(sandbox.run(job))
        except SandboxFault as fault:
            answers.append(fault)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, answers


def test_killed_broker_is_replaced(fragile: BrokerSandbox) -> None:
    """SIGKILL of the broker in the middle of a job: the job is run again and answered."""
    job = Job(runs=(Step(("/bin/sleep", "1"), limits=Limits(wall=30)),))
    thread, answers = _in_thread(fragile, job)
    broker = fragile.broker_pid
    assert _wait_until(lambda: _sleepers(broker) == 1)
    everyone = _below(broker)
    os.kill(broker, signal.SIGKILL)
    thread.join(60)
    (answer,) = answers
    assert isinstance(answer, JobResult), answer
    assert answer.runs[0].status == "ok"
    assert _wait_until(lambda: all(map(_gone, everyone)))
    assert fragile.broker_pid != broker


def test_twice_killed_worker_is_a_fault(fragile: BrokerSandbox) -> None:
    """A job whose worker dies twice is our fault, never an outcome; the next job is fine."""
    job = Job(runs=(Step(("/bin/sleep", "600"), limits=Limits(wall=600)),))
    thread, answers = _in_thread(fragile, job)
    for _ in range(2):
        assert _wait_until(lambda: _sleepers(fragile.broker_pid) == 1)
        victims = psutil.Process(fragile.broker_pid).children()
        for victim in victims:
            victim.kill()
        assert _wait_until(lambda victims=victims: all(map(_gone, victims)))
    thread.join(60)
    assert isinstance(answers[0], SandboxFault)
    assert fragile.run(Job(runs=(Step(("/bin/true",)),))).runs[0].status == "ok"


def test_missing_tool_is_a_fault(fragile: BrokerSandbox) -> None:
    """A compiler that is not there says nothing about the program."""
    with pytest.raises(SandboxFault, match="no-such-compiler"):
        fragile.run(Job(build=Step(("no-such-compiler", "main.cpp"))))


def test_close_ends_running_jobs(fragile: BrokerSandbox) -> None:
    """Closing kills what runs, tells the waiting thread, and may be repeated."""
    job = Job(runs=(Step(("/bin/sleep", "600"), limits=Limits(wall=600)),))
    thread, answers = _in_thread(fragile, job)
    broker = fragile.broker_pid
    assert _wait_until(lambda: _sleepers(broker) == 1)
    everyone = _below(broker)
    fragile.close()
    fragile.close()
    thread.join(30)
    assert isinstance(answers[0], SandboxFault)
    assert all(map(_gone, everyone))
    with pytest.raises(SandboxFault, match="closed"):
        fragile.run(job)


def test_forked_child_may_not_use_it(fragile: BrokerSandbox) -> None:
    """A sandbox belongs to the process that opened it."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other tests leave threads behind
        child = os.fork()
    if child == 0:
        try:
            fragile.run(Job(runs=(Step(("/bin/true",)),)))
        except SandboxFault as fault:
            os.write(writer, str(fault).encode())
        finally:
            fragile.close()
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    assert b"fork" in os.read(reader, 4096)
    os.close(reader)
    assert fragile.run(Job(runs=(Step(("/bin/true",)),))).runs[0].status == "ok"


_AS_USER = """
from halo_forge.sandbox.backends import open_backend
from halo_forge.sandbox.conformance import run_checks
import sys
with open_backend(sys.argv[1], workers=1) as sandbox:
    for check, problem in run_checks(sandbox):
        print("FAILED" if problem else "ok", check.name, problem)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("backend", CONFINED)
def test_ordinary_user_gets_the_same(backend: str, tmp_path: Path, root: Path) -> None:
    """The conformance suite passes for a user without any privilege."""
    nobody = 65534
    tmp_path.chmod(0o777)
    finished = subprocess.run(
        [python_executable(), "-W", "error", "-c", _AS_USER, backend],
        user=nobody,
        group=nobody,
        extra_groups=[],
        env={"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert len(lines) > 15
    assert [line for line in lines if line.startswith("FAILED")] == []
