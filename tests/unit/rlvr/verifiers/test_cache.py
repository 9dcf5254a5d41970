"""Verdicts are remembered by all that decides them, and come back as they were."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from halo_forge.core.types import TestCase, VerifyResult
from halo_forge.rlvr.verifiers import (
    ChainedVerifier,
    ExecutionVerifier,
    PytestVerifier,
    PythonVerifier,
)
from halo_forge.rlvr.verifiers.audit import audit_tests
from halo_forge.rlvr.verifiers.cache import VerdictCache
from halo_forge.rlvr.verifiers.toolchains import TOOLCHAINS
from halo_forge.sandbox import Guarantee, JobResult, Outcome, Sandbox, Status
from halo_forge.sandbox.policy import Level

CODE = "print(input())"
CASES = (TestCase("a\n", "a"),)


def outcome(
    status: Status = Status.OK, stdout: bytes = b"", signal: int | None = None, stderr: bytes = b""
) -> Outcome:
    """Return what a step did, in short."""
    code = {Status.OK: 0, Status.NONZERO: 1}.get(status)
    return Outcome(status, code, signal, stdout, stderr, 0.1, 0.1, 1, 0)


class Counting(Sandbox):
    """A sandbox in which everything works as told, and which counts the programs it ran."""

    backend = "counting"

    def __init__(self, ending: Outcome | None = None, version: str = "Python 3.11") -> None:
        self.programs = 0
        self._ending = ending
        self._version = version.encode()
        self.promises: tuple[Guarantee, ...] = ()

    def run(self, job) -> JobResult:
        source = b"".join(job.files.values())
        if b'print("ok")' in source:
            return JobResult(outcome(), (outcome(stdout=self._version), outcome(stdout=b"ok\n")))
        if not job.runs:
            return JobResult(outcome(Status.NONZERO), ())
        self.programs += 1
        each = [self._ending or outcome(stdout=step.stdin) for step in job.runs]
        return JobResult(outcome(), tuple(each))

    def guarantees(self) -> tuple[Guarantee, ...]:
        return self.promises

    def close(self) -> None:
        """Close nothing."""


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))


@pytest.fixture
def counting() -> Counting:
    return Counting()


def test_equal_programs_are_judged_once(counting, make_sample) -> None:
    """Over calls, ways of asking, prose around the program, and prompts with the same tests."""
    verifier = ExecutionVerifier(CASES, sandbox=counting)
    first = verifier.verify(CODE)
    assert verifier.verify(f"Here it is:\n```python\n{CODE}\n```") == first
    assert verifier.verify_batch([CODE, CODE]) == [first, first]
    for name in ("p1", "p2"):
        assert verifier.judge(make_sample(CODE, id=name, tests=CASES)) == first
    assert counting.programs == 1
    assert verifier.verify("print(input() )") == first
    assert counting.programs == 2


def test_what_a_prompt_decides_is_in_the_key(counting, make_sample) -> None:
    """Tests, hidden ones, expected output, language and entry point; not the prompt's name."""
    verifier = ExecutionVerifier(CASES, score_hidden=True, sandbox=counting)
    prompts: list[dict[str, Any]] = [
        {},
        {"tests": (TestCase("a\n", "b"),)},
        {"tests": (TestCase("b\n", "a"),)},
        {"tests": CASES, "hidden_tests": CASES},
        {"expected_output": "a"},
    ]
    for number, fields in enumerate(prompts, 1):
        for name in ("p1", "p2"):
            verifier.judge(make_sample(CODE, id=name, **fields))
            assert counting.programs == number


def test_test_code_is_in_the_key(sandbox, make_sample) -> None:
    """A function is judged by each prompt's own test code."""
    verifier = PytestVerifier(sandbox=sandbox)
    code = "def f():\n    return 1\n\n\ndef g():\n    return 2\n"
    rewards = [
        verifier.judge(make_sample(code, test_code=f"def test():\n    assert {call} == 1\n")).reward
        for call in ("f()", "g()", "f()")
    ]
    assert rewards == [1.0, 0.0, 1.0]


def test_what_comes_back_is_a_copy(counting) -> None:
    """What a caller does to a verdict does nothing to the next one, which is equal to the byte."""
    verifier = ExecutionVerifier(CASES, sandbox=counting)
    fresh = verifier.verify(CODE)
    told = json.dumps([*vars_of(fresh)])
    fresh.metadata["stage"] = "mine"
    again = verifier.verify(CODE)
    assert json.dumps([*vars_of(again)]) == told
    assert counting.programs == 1


def vars_of(result: VerifyResult) -> list[Any]:
    """Return all fields of a verdict, metadata in its order."""
    return [getattr(result, name) for name in ("success", "reward", "details", "error", "metadata")]


def test_a_real_verdict_is_the_same_remembered(sandbox, make_sample) -> None:
    """With a real sandbox: right, wrong and not even a program, functions and programs."""
    samples = [
        make_sample("def f():\n    return 1", test_code="def test():\n    assert f() == 1\n"),
        make_sample("def f():\n    return 2", test_code="def test():\n    assert f() == 1\n"),
        make_sample("def f(:", test_code="def test():\n    assert f() == 1\n"),
    ]
    verifier = PytestVerifier(sandbox=sandbox)
    fresh = [verifier.judge(one) for one in samples]
    assert [verifier.judge(one) for one in samples] == fresh
    with verifier.afresh():
        assert [verifier.judge(one) for one in samples] == fresh
    assert [one.reward for one in fresh] == [1.0, 0.0, 0.0]


class Own(PythonVerifier):
    """A subclass with a setting that halo-forge knows nothing of."""

    def __init__(self, mood: object, **options: Any) -> None:
        super().__init__(expected_output="a\n", stdin_input="a\n", **options)
        self.mood = mood


BASE: dict[str, Any] = {"test_cases": CASES}
SETTINGS: list[dict[str, Any]] = [
    BASE,
    {"test_cases": (TestCase("a\n", "b"),)},
    {"test_cases": (TestCase("b\n", "a"),)},
    {"test_cases": (TestCase("a\n", "a", name="first"),)},
    {"test_cases": (TestCase("a\n", "a", timeout=3),)},
    {"test_cases": CASES * 2},
    {**BASE, "language": "python"},
    {**BASE, "match_mode": "contains"},
    {**BASE, "partial_credit": False},
    {**BASE, "timeout": 31},
    {**BASE, "run_timeout": 6},
    {**BASE, "memory_limit_mb": 511},
    {**BASE, "score_hidden": True},
]
LADDERS: list[dict[str, Any]] = [
    {},
    {"flags": ["-O"]},
    {"run_after_compile": True},
    {"expected_output": "a"},
    {"expected_output": "a", "stdin_input": "b"},
    {"run_after_compile": True, "warn_as_error": True},
]


def _settled(path, make, sandboxes) -> list[int]:
    """Judge one program with verifiers that share a file; return programs run by each."""
    for number, sandbox in enumerate(sandboxes):
        verifier = make(number, sandbox)
        verifier.cache = VerdictCache(path)
        verifier.verify(CODE)
        verifier.cache.close()
    return [sandbox.programs for sandbox in sandboxes]


@pytest.mark.parametrize(
    ("kind", "variants"), [(ExecutionVerifier, SETTINGS), (PythonVerifier, LADDERS[2:])]
)
def test_every_setting_is_in_the_key(kind, variants, tmp_path) -> None:
    """No two of these share a verdict; each finds its own again, whatever the workers."""
    sandboxes = [Counting() for _ in variants]
    found = _settled(tmp_path / "v", lambda n, s: kind(**variants[n], sandbox=s), sandboxes)
    assert found == [1] * len(variants)
    again = [Counting() for _ in variants]
    found = _settled(
        tmp_path / "v", lambda n, s: kind(**variants[n], sandbox=s, max_workers=7), again
    )
    assert found == [0] * len(variants)


def test_flags_are_in_the_key() -> None:
    """Two sets of flags are two tools."""
    names = {_key_of(PythonVerifier(**options)) for options in LADDERS}
    assert len(names) == len(LADDERS)
    assert None not in names


def _key_of(verifier: PythonVerifier, **changes: Any) -> str | None:
    """Return the key under which a verifier would keep its verdict on one program."""
    sandbox = changes.pop("sandbox", None) or Counting()
    verifier._bench._given = sandbox
    seen: list[str] = []

    class Spy(VerdictCache):
        def get(self, key: str) -> VerifyResult | None:
            seen.append(key)
            return super().get(key)

    verifier.cache = Spy()
    verifier.verify(changes.get("code", CODE))
    return seen[0] if seen else None


def test_machine_and_class_are_in_the_key(monkeypatch) -> None:
    """Another version of the toolchain, sandbox, promise, class or halo-forge judges anew."""
    plain = _key_of(PythonVerifier())
    assert plain == _key_of(PythonVerifier())
    other = Counting()
    other.backend = "other"
    weaker = Counting()
    weaker.promises = (Guarantee("network", Level.NONE, "", ""),)
    keys = [
        plain,
        _key_of(PythonVerifier(), sandbox=Counting(version="Python 3.12")),
        _key_of(PythonVerifier(), sandbox=other),
        _key_of(PythonVerifier(), sandbox=weaker),
        _key_of(type("Sub", (PythonVerifier,), {"__module__": __name__})()),
        _key_of(Own(1)),
        _key_of(Own(2)),
        _key_of(Own(True)),
        _key_of(Own("1")),
        _key_of(Own([1])),
        _key_of(Own((1,))),
        _key_of(Own({1: None})),
        _key_of(Own(b"1")),
        _key_of(Own(TOOLCHAINS["gcc"])),
        _key_of(Own(replace(TOOLCHAINS["gcc"], good=""))),
        _key_of(PythonVerifier(), code="print('\ud83d\ude00')"),
        _key_of(PythonVerifier(), code="print('\N{GRINNING FACE}')"),
    ]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    from halo_forge.rlvr.verifiers import verdict_key

    verdict_key.code_of.cache_clear()
    monkeypatch.setattr(verdict_key.halo_forge, "__version__", "999")
    assert _key_of(PythonVerifier()) not in keys
    verdict_key.code_of.cache_clear()


def test_what_has_no_name_is_not_remembered(counting) -> None:
    """A subclass that holds a thing which cannot be told from another is judged every time."""
    verifier = Own(threading.Lock(), sandbox=counting)
    verifier.verify(CODE)
    verifier.verify(CODE)
    assert counting.programs == 2


@pytest.mark.parametrize(
    ("ending", "programs"),
    [
        (outcome(stdout=b"a"), 1),
        (outcome(stdout=b"b"), 1),
        (outcome(Status.NONZERO), 1),
        (outcome(Status.CRASH, signal=11), 1),
        (outcome(Status.CRASH, signal=9), 2),
        (outcome(Status.NONZERO, stderr=b"fork: Resource temporarily unavailable"), 2),
        (outcome(Status.NONZERO, stderr=b"MemoryError"), 2),
        *[
            (outcome(status), 2)
            for status in sorted(set(Status) - {Status.OK, Status.NONZERO, Status.CRASH})
        ],
    ],
)
@pytest.mark.parametrize("hidden", [False, True])
def test_limits_are_not_remembered(ending, programs, hidden, make_sample) -> None:
    """What was cut off may go well another day, hidden tests too; everything else is settled."""
    sandbox = Counting(ending)
    verifier = ExecutionVerifier(CASES, score_hidden=hidden, sandbox=sandbox)
    sample = make_sample(CODE, tests=CASES, hidden_tests=CASES)
    assert verifier.judge(sample) == verifier.judge(sample)
    assert sandbox.programs == programs


def test_a_pattern_that_takes_too_long_is_not_remembered(sandbox) -> None:
    """Searching ran into its limit: the verdict says so, and is asked for again."""
    verifier = ExecutionVerifier(
        [TestCase("", r"^(a+)+$")], match_mode="regex", language="python", sandbox=sandbox
    )
    verdict = verifier.verify("import sys\nsys.stdin\nprint('a' * 40 + 'b')")
    assert verdict.metadata["tests"] == ["cpu_limit"]
    assert "searching the output hit the cpu limit" in verdict.details
    assert not verifier.cache._texts


def test_afresh_reaches_every_stage(counting) -> None:
    """A chain that is judged afresh neither uses nor keeps verdicts, and remembers later again."""
    chain = ChainedVerifier([ExecutionVerifier(CASES, sandbox=counting), Own(1, sandbox=counting)])
    with chain.afresh():
        chain.verify(CODE)
        chain.verify(CODE)
    assert counting.programs == 4
    chain.verify(CODE)
    chain.verify(CODE)
    assert counting.programs == 6


def test_an_audit_of_tests_judges_afresh(counting, make_sample) -> None:
    """Flaky tests are found by judging the reference three times, remembered or not."""
    verifier = ExecutionVerifier(CASES, sandbox=counting)
    prompt = make_sample("", tests=CASES, solution=CODE, language="python").prompt
    verifier.judge(make_sample(CODE, tests=CASES, language="python"))
    audit_tests(verifier, [prompt], changes=1)
    assert counting.programs == 1 + 3


def test_cleanup_forgets(counting) -> None:
    """Memory is freed by cleanup, and the verifier goes on."""
    verifier = ExecutionVerifier(CASES, sandbox=counting)
    for _ in range(2):
        verifier.verify(CODE)
        verifier.cleanup()
    assert counting.programs == 2
    verifier.cache = None
    verifier.verify(CODE)
    verifier.cleanup()
    assert counting.programs == 3


def test_memory_is_bounded() -> None:
    """The verdicts that were not asked for longest go first."""
    cache = VerdictCache(capacity=3500)
    verdict = VerifyResult(True, 1.0, "x" * 1000)
    cache.put("a", verdict)
    cache.put("b", verdict)
    assert cache.get("a") == verdict
    cache.put("c", verdict)
    assert [key for key in "abc" if cache.get(key)] == ["a", "c"]
    cache.put("a", VerifyResult(True, 1.0, "y" * 9000))
    assert [key for key in "abc" if cache.get(key)] == []


@pytest.mark.parametrize(
    "verdict",
    [
        VerifyResult(True, 1.0, "", None, {"tuple": (1, 2)}),
        VerifyResult(True, 1.0, "", None, {"object": object()}),
        VerifyResult(True, 1.0, "", None, {3: "key"}),
        VerifyResult(True, 1.0, "\ud83d\ude00"),
        VerifyResult(True, 1.0, "", None, {"nan": float("nan")}),
    ],
)
def test_what_would_come_out_different_is_not_kept(verdict) -> None:
    """A verdict that JSON cannot hold exactly is not kept at all."""
    cache = VerdictCache()
    cache.put("a", verdict)
    assert cache.get("a") is None


def test_many_threads(tmp_path) -> None:
    """Every thread gets what belongs to its key, while others write and memory overflows."""
    cache = VerdictCache(tmp_path / "v", capacity=5000)
    wrong = []

    def work(start: int) -> None:
        for n in range(start, start + 200):
            name = str(n % 50)
            cache.put(name, VerifyResult(True, 1.0, name))
            found = cache.get(str((n * 7) % 50))
            if found is not None and found.details != str((n * 7) % 50):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(cache.get(str(n)) == VerifyResult(True, 1.0, str(n)) for n in range(50))
    cache.close()
