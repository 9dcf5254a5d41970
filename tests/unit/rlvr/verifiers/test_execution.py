"""Tests decide: the share that passes is the reward, and nothing else counts as passing."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from halo_forge.core.errors import UserError, VerifierFault
from halo_forge.core.types import TestCase
from halo_forge.rlvr.verifiers import ExecutionVerifier
from halo_forge.rlvr.verifiers.batch import judge_all

SUM = "print(sum(map(int, input().split())))"
CPP_SUM = """\
```cpp
#include <cstdio>
int main() { int a, b; scanf("%d %d", &a, &b); printf("%d", a + b); }
```"""
TESTS = (TestCase("1 2", "3"), TestCase("2 2", "4"), TestCase("9 1", "10"), TestCase("0 0", "0"))


@pytest.fixture(scope="module")
def verifier(sandbox):
    """A verifier without tests of its own."""
    return ExecutionVerifier(run_timeout=0.5, sandbox=sandbox)


def test_all_tests_pass(verifier, make_sample) -> None:
    """The right program gets 1.0, strongly."""
    verdict = verifier.judge(make_sample(SUM, tests=TESTS))
    assert (verdict.success, verdict.reward, verdict.error) == (True, 1.0, None)
    assert verdict.details == "4/4 tests passed"
    assert verdict.metadata["integrity"] == "strong"
    assert verdict.metadata["language"] == "python"


@pytest.mark.toolchain("g++")
def test_compiled_languages(verifier, make_sample) -> None:
    """C++ is built once and run on every test; without a fence it is recognised."""
    bare = CPP_SUM.removeprefix("```cpp\n").removesuffix("```")
    for text in (CPP_SUM, bare, CPP_SUM.replace("cpp", "c", 1).replace("cstdio", "stdio.h")):
        assert verifier.judge(make_sample(text, tests=TESTS)).reward == 1.0
    broken = verifier.judge(make_sample(CPP_SUM.replace("a + b", "a + c"), tests=TESTS))
    assert (broken.reward, broken.metadata["stage"]) == (0.0, "compile")


def test_partial_credit(verifier, make_sample, sandbox) -> None:
    """Half the tests give 0.75, or 0.5 without partial credit; never success."""
    half = "a, b = map(int, input().split())\nprint(a * b if a == 2 or a == 0 else 0)"
    verdict = verifier.judge(make_sample(half, tests=TESTS))
    assert (verdict.success, verdict.reward) == (False, 0.75)
    assert verdict.details == "2/4 tests passed; test 1: expected '3', got '0'"
    assert verdict.metadata["tests"] == ["wrong_output", "passed", "wrong_output", "passed"]
    strict = ExecutionVerifier(partial_credit=False, sandbox=sandbox)
    assert strict.judge(make_sample(half, tests=TESTS)).reward == 0.5
    assert strict.judge(make_sample(SUM, tests=TESTS)).reward == 1.0


@pytest.mark.parametrize(
    "ending", ["import os; os.abort()", "raise SystemExit(3)", "1 / 0", "import sys; sys.exit('x')"]
)
def test_bad_ending_after_right_output_is_no_pass(verifier, make_sample, ending: str) -> None:
    """A crash or a nonzero exit undoes the right output, and later tests are still run."""
    code = f"a, b = map(int, input().split())\nprint(a + b, flush=True)\nif a == 1: {ending}"
    verdict = verifier.judge(make_sample(code, tests=TESTS))
    assert (verdict.success, verdict.metadata["tests_passed"]) == (False, 3)


def test_endless_loop_costs_one_time_limit(verifier, make_sample) -> None:
    """After a test hits its limit the rest is not run and counts as failed."""
    verdict = verifier.judge(make_sample("while input(): pass\nwhile True: pass", tests=TESTS[:1]))
    assert verdict.metadata["tests"] == ["nonzero"]
    code = "a, b = map(int, input().split())\nwhile a == 2: pass\nprint(a + b)"
    verdict = verifier.judge(make_sample(code, tests=TESTS))
    assert verdict.metadata["tests"] == ["passed", "cpu_limit", "not_run", "not_run"]
    assert verdict.metadata["limits"] == ["cpu_limit"]
    assert verdict.reward == 0.625


def test_hidden_tests_are_reported_not_rewarded(make_sample, sandbox, verifier) -> None:
    """A program made for the visible tests keeps its reward; the gap is in the metadata."""
    cheat = "print({'1 2': 3, '2 2': 4}[input()])"
    sample = make_sample(cheat, tests=TESTS[:2], hidden_tests=TESTS[2:])
    scored = ExecutionVerifier(score_hidden=True, sandbox=sandbox).judge(sample)
    assert (scored.success, scored.reward, scored.details) == (True, 1.0, "2/2 tests passed")
    assert (scored.metadata["hidden_passed"], scored.metadata["hidden_total"]) == (0, 2)
    plain = verifier.judge(sample)
    assert (plain.reward, plain.details) == (scored.reward, scored.details)
    assert "hidden_total" not in plain.metadata


def test_test_of_its_own_time(verifier, make_sample) -> None:
    """A test may allow more time than the verifier does."""
    code = "import time\nwhile time.process_time() < 0.7: pass\nprint(input())"
    case = TestCase("x", "x", name="slow", timeout=3)
    assert verifier.judge(make_sample(code, tests=(case,))).reward == 1.0
    short = verifier.judge(make_sample(code, tests=(replace(case, timeout=0.3),)))
    assert short.details == "0/1 tests passed; slow: hit the cpu limit"


def test_big_right_output_passes(verifier, make_sample) -> None:
    """Output beyond the usual limit is kept when as much is expected."""
    expected = "\n".join(str(n) for n in range(60_000))
    sample = make_sample("for n in range(60_000): print(n)", expected_output=expected)
    assert verifier.judge(sample).reward == 1.0
    flood = make_sample("while True: print('x' * 1000)", expected_output="x")
    assert verifier.judge(flood).metadata["limits"] == ["output_limit"]


def test_no_network_and_no_secrets(verifier, make_sample, monkeypatch) -> None:
    """The trainer's environment does not reach the program."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    sample = make_sample("import os\nprint(os.environ.get('HF_TOKEN'))", expected_output="None")
    assert verifier.judge(sample).reward == 1.0
    assert os.environ["HF_TOKEN"] == "hf_secret"


def test_sets_print_in_one_order(verifier, make_sample) -> None:
    """String hashing is fixed, so that a verdict does not depend on it."""
    code = "print(*{'a', 'b', 'c', 'd', 'e', 'f', 'g'})"
    first = verifier.judge(make_sample(code, expected_output="?")).details
    assert {verifier.judge(make_sample(code, expected_output="?")).details for _ in range(3)} == {
        first
    }


def test_tests_without_expectation_are_refused(verifier, make_sample, sandbox) -> None:
    """A prompt without tests, an empty pattern or an unknown option is our mistake."""
    with pytest.raises(VerifierFault, match="'p9' has no tests"):
        verifier.judge(make_sample(SUM, id="p9"))
    lax = ExecutionVerifier(match_mode="contains", sandbox=sandbox)
    with pytest.raises(VerifierFault, match=r"'p9'.*matches anything"):
        lax.judge(make_sample(SUM, id="p9", tests=(TestCase("1", ""),)))
    with pytest.raises(UserError, match="match mode"):
        ExecutionVerifier(match_mode="fuzzy", sandbox=sandbox)
    with pytest.raises(UserError, match="'input' and 'expected'"):
        ExecutionVerifier([{"input": "1"}], sandbox=sandbox)
    with pytest.raises(UserError, match="cobol"):
        ExecutionVerifier(language="cobol", sandbox=sandbox)


def test_lax_modes_are_weak(make_sample, sandbox) -> None:
    """Modes that allow anything around the expected output say so."""
    for mode, integrity in (("contains", "weak"), ("numeric", "strong")):
        verifier = ExecutionVerifier(
            [{"input": "", "expected": "7"}], match_mode=mode, sandbox=sandbox
        )
        verdict = verifier.verify("print('7.0')")
        assert (verdict.reward, verdict.metadata["integrity"]) == (1.0, integrity)


@pytest.mark.toolchain("g++")
def test_order_and_workers_change_no_verdict(sandbox, make_sample) -> None:
    """The same samples get the same verdicts, in any order, with any number of workers."""
    answers = [SUM, CPP_SUM, "print(3)", "print(", "print(1 / 0)", "", "pass", CPP_SUM[:-20]]
    samples = [make_sample(text, index=i, tests=TESTS[:2]) for i, text in enumerate(answers)]
    seen = []
    for workers, order in ((1, samples), (4, samples[::-1])):
        verifier = ExecutionVerifier(max_workers=workers, sandbox=sandbox)
        seen.append({v.sample.id: v.result for v in judge_all(verifier, order)})
    assert seen[0] == seen[1]
    assert [seen[0][s.id].reward for s in samples] == [1.0, 1.0, 0.75, 0.0, 0.5, 0.0, 0.0, 0.0]


def test_prose_does_not_make_work(sandbox, make_sample) -> None:
    """Answers that differ only around the program are one piece of work."""
    verifier = ExecutionVerifier(sandbox=sandbox)
    one = make_sample(f"Sure!\n```python\n{SUM}\n```", tests=TESTS)
    two = make_sample(f"```py\n{SUM}\n```\nDone.", tests=TESTS)
    assert verifier.identity(one) == verifier.identity(two)
