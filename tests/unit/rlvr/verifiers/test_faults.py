"""Our trouble is never the model's failure: what is missing or broken raises, and says so."""

from __future__ import annotations

from collections import namedtuple

import pytest

from halo_forge.core.errors import SandboxFault, UserError, VerifierFault
from halo_forge.core.types import TestCase
from halo_forge.rlvr.verifiers import (
    ExecutionVerifier,
    GCCVerifier,
    toolchain,
    toolchains,
    workbench,
)
from halo_forge.rlvr.verifiers.batch import FaultRecord, judge_all
from halo_forge.sandbox import JobResult, Outcome, Sandbox, Status

CODE = '```cpp\n#include <cstdio>\nint main() { puts("x"); }\n```'
CASES = (TestCase("", "x"),)


def outcome(status: Status = Status.OK, stdout: bytes = b"", stderr: bytes = b"") -> Outcome:
    """Return what a step did, in short."""
    code = {Status.OK: 0, Status.NONZERO: 1}.get(status)
    return Outcome(status, code, None, stdout, stderr, 0.1, 0.1, 1, 0)


class Scripted(Sandbox):
    """A sandbox that answers what it is told, whatever is run."""

    backend = "scripted"

    def __init__(self, answer) -> None:
        self.answer = answer
        self.jobs = []

    def run(self, job) -> JobResult:
        self.jobs.append(job)
        return self.answer(job)

    def guarantees(self):
        return ()

    def close(self) -> None:
        raise AssertionError("a sandbox that was lent stays open")


def working(job) -> JobResult:
    """Behave like a working toolchain whose programs print ok."""
    source = b"".join(job.files.values())
    if b"undeclared" in source or source == b"print(\n":
        return JobResult(outcome(Status.NONZERO, stderr=b"main.cpp:1:1: error: undeclared"), ())
    return JobResult(outcome(), tuple(outcome(stdout=b"ok\n") for _ in job.runs))


@pytest.fixture
def _no_compilers(monkeypatch) -> None:
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)


@pytest.mark.usefixtures("_no_compilers")
def test_missing_compiler_is_a_fault() -> None:
    """Start, verify and batches say which compiler is missing and how to get it."""
    verifier = GCCVerifier(sandbox=Scripted(working))
    for call in (verifier.start, lambda: verifier.verify(CODE), lambda: verifier.verify("")):
        with pytest.raises(VerifierFault, match=r"g\+\+ is not on PATH.*dnf.*apt.*xcode-select"):
            call()
    (record,) = verifier.verify_batch([CODE])
    assert isinstance(record, FaultRecord)
    assert "sudo dnf install" in record.fault


@pytest.mark.usefixtures("_no_compilers")
def test_missing_compiler_does_not_stop_python() -> None:
    """A machine without a C compiler judges Python."""
    verifier = ExecutionVerifier([TestCase("", "ok")], sandbox=Scripted(working))
    verifier.start()
    assert verifier.verify("```python\nprint(input())\n```").reward == 1.0


def test_broken_sandbox_is_a_fault(make_sample) -> None:
    """A sandbox that dies costs no reward."""

    def broken(job):
        raise SandboxFault("the broker died")

    verifier = GCCVerifier(sandbox=Scripted(broken))
    with pytest.raises(VerifierFault, match="broker died"):
        verifier.verify(CODE)
    (verdict,) = judge_all(verifier, [make_sample(CODE)])
    assert (verdict.result, "broker died" in verdict.fault) == (None, True)


@pytest.mark.parametrize(
    "answer",
    [
        lambda job: JobResult(outcome(Status.NONZERO, stderr=b"fatal error: iostream"), ()),
        lambda job: JobResult(outcome(), tuple(outcome(stdout=b"?") for _ in job.runs)),
        lambda job: JobResult(outcome(), tuple(outcome(stdout=b"ok") for _ in job.runs)),
        lambda job: JobResult(outcome(), tuple(outcome(Status.CRASH) for _ in job.runs)),
    ],
    ids=["cannot build", "wrong output", "accepts anything", "crashes"],
)
def test_toolchain_that_does_not_work_is_a_fault(answer) -> None:
    """A compiler without headers, or one that accepts anything, is found before it scores."""
    verifier = GCCVerifier(sandbox=Scripted(answer))
    with pytest.raises(VerifierFault):
        verifier.start()
    with pytest.raises(VerifierFault):
        verifier.verify(CODE)


def test_toolchain_is_tried_once() -> None:
    """The self-check is paid by the first answer only."""
    sandbox = Scripted(working)
    verifier = GCCVerifier(sandbox=sandbox)
    verifier.cache = None
    verifier.verify(CODE)
    first = len(sandbox.jobs)
    verifier.verify(CODE)
    assert len(sandbox.jobs) == first + 1
    verifier.cleanup()


def test_full_disk_is_a_fault(monkeypatch) -> None:
    """A full disk of ours is a fault; a program that fills the sandbox's is a failure."""

    def full(job):
        if b"puts" in b"".join(job.files.values()) and not job.runs:
            message = b"as: main.o: No space left on device"
            return JobResult(outcome(Status.NONZERO, stderr=message), ())
        return working(job)

    verifier = GCCVerifier(sandbox=Scripted(full))
    assert verifier.verify(CODE).reward == 0.0
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(workbench.shutil, "disk_usage", lambda path: usage(1, 1, 0))
    with pytest.raises(VerifierFault, match="disk is full"):
        verifier.verify(CODE)


def test_no_sandbox_is_a_fault(monkeypatch) -> None:
    """Where nothing confines programs, nothing is judged."""

    def none(**options):
        raise SandboxFault("no backend works here")

    monkeypatch.setattr(workbench, "open_sandbox", none)
    with pytest.raises(VerifierFault, match="no backend works here"):
        ExecutionVerifier(CASES).verify("print(1)")


@pytest.mark.parametrize("kind", [GCCVerifier, ExecutionVerifier])
def test_a_sandbox_that_is_opened_is_closed(kind) -> None:
    """What a verifier has opened for it is its own, and goes with it; what it is lent stays."""
    opened, closed = [], []

    class Own(Scripted):
        def close(self) -> None:
            closed.append(self)

    def opener(*, workers):
        opened.append(workers)
        return Own(working)

    with kind(sandbox=opener, max_workers=3) as verifier:
        verifier.start()
        assert (opened, closed) == ([3], [])
    assert len(closed) == 1


def test_runs_stop_only_at_time_limits() -> None:
    """A failed run is followed by the others; a run out of time is not."""

    def answer(job):
        if not job.runs or b"ok" in b"".join(job.files.values()):
            return working(job)
        states = {b"a": Status.NONZERO, b"b": Status.OK, b"c": Status.CPU_LIMIT, b"d": Status.OK}
        ran = []
        for run in job.runs:
            ran.append(outcome(states[run.stdin], stdout=run.stdin))
            if ran[-1].status in job.stop_on:
                break
        return JobResult(outcome(), tuple(ran))

    cases = [TestCase(letter, letter) for letter in "abcd"]
    verdict = ExecutionVerifier(cases, sandbox=Scripted(answer)).verify("print(input())")
    assert verdict.metadata["tests"] == ["nonzero", "passed", "cpu_limit", "not_run"]


@pytest.mark.parametrize("limits", [{"timeout": 0}, {"run_timeout": -1}, {"memory_limit_mb": 0}])
def test_limits_must_be_positive(limits) -> None:
    """A limit of zero would mean none."""
    with pytest.raises(ValueError, match="must be positive"):
        GCCVerifier(**limits)


def test_language_without_toolchain() -> None:
    """Asking the table for an unknown language names the known ones."""
    with pytest.raises(UserError, match="c, cpp, csharp, go, powershell, python, rust"):
        toolchains.resolve("cobol")


def test_own_sandbox_closes_and_opens_again() -> None:
    """Cleanup frees the sandbox; the verifier can be used afterwards."""
    with ExecutionVerifier([TestCase("", "1")], max_workers=1) as verifier:
        assert verifier.verify("print(1)").reward == 1.0
        verifier.cleanup()
        assert verifier.verify("print(1)").reward == 1.0
