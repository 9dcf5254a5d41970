"""The gold check: what it asks, and what it says of each answer."""

import pytest

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Verdict, VerifyResult
from halo_forge.data.gold import check_gold
from halo_forge.data.shapes import parse_record

_CASES = [{"input": "1\n", "expected": "1\n"}, {"input": "2\n", "expected": "4\n"}]


def _records(*rows):
    filled = ({"prompt": f"task {n}", "tests": _CASES} | row for n, row in enumerate(rows))
    return [parse_record(line, row, "prompts") for line, row in enumerate(filled, 1)]


def _judge(rewards):
    """A judge that knows the reward of each solution, and answers from the last to the first."""

    def judge(samples):
        for sample in reversed(samples):
            lines = sample.completion.split("\n")
            reward = rewards[lines[1] if len(lines) > 1 else ""]
            yield Verdict(sample, VerifyResult(reward == 1.0, reward, "why\nnot"))

    return judge


def test_references_that_pass():
    """A solution at 1.0 and an empty answer below give no finding, in whatever order they come."""
    records = _records(
        {"reference": "good", "language": "cpp"},
        {"tests": None, "expected_output": "", "reference": "good"},
        {"tests": "assert f() == 1", "reference": "good"},
    )
    assert check_gold(records, _judge({"good": 1.0, "": 0.0})) == []


def test_each_failure_is_reported():
    """A solution that fails is an error; what could not be checked is a warning."""
    records = _records(
        {"reference": "bad"},
        {},
        {"tests": "assert f() == 1", "reference": "bad"},
        {"tests": "assert(f() == 1);", "reference": "good", "language": "cpp"},
        {"reference": "good"},
    )
    findings = check_gold(records, _judge({"bad": 0.5, "good": 1.0, "": 0.0}))
    assert {(item.line, item.level, item.message) for item in findings} == {
        (1, "error", "the reference solution scores 0.5: why not"),
        (2, "warning", "no reference solution, so its tests are unchecked"),
        (3, "error", "the reference solution scores 0.5: why not"),
        (4, "warning", "test code in cpp is not run, so it is unchecked"),
    }


def test_empty_answer_must_not_pass():
    """Tests that an empty answer passes are an error, with or without a solution."""
    findings = check_gold(_records({}, {"reference": "x"}), _judge({"": 1.0, "x": 1.0}))
    assert [item.line for item in findings if item.level == "error"] == [1, 2]


def test_solution_meets_the_hidden_tests():
    """The solution is judged on both test sets at once, under a name of its own."""
    hidden = [{"input": "3\n", "expected": "9\n"}]
    seen = []

    def judge(samples):
        seen.extend(samples)
        return [Verdict(sample, VerifyResult(False, 0.9)) for sample in samples]

    check_gold(_records({"reference": "good", "language": "cpp", "hidden_tests": hidden}), judge)
    empty, solution = seen
    assert empty.prompt.id != solution.prompt.id
    assert [case.input for case in solution.prompt.reference.tests] == ["1\n", "2\n", "3\n"]
    assert solution.prompt.reference.tests[-1].name == "hidden test 1"
    assert solution.completion == "```cpp\ngood\n```"


def test_solution_meets_hidden_test_code():
    """Hidden tests that are code decide too."""
    seen = []

    def judge(samples):
        seen.extend(samples)
        return [Verdict(s, VerifyResult(False, 1.0 * (s.index < 2))) for s in samples]

    row = {"tests": "assert f()", "hidden_tests": "assert not f()", "reference": "x"}
    (finding, *_), own = check_gold(_records(row), judge), [s.prompt.reference for s in seen]
    assert [one.test_code for one in own] == ["assert f()", "assert f()", "assert not f()"]
    assert "an empty answer" in finding.message


def test_a_fault_is_no_finding():
    """An answer that could not be judged is our failure, not the file's."""
    with pytest.raises(VerifierFault, match="no g"):
        check_gold(_records({}), lambda samples: [Verdict(s, fault="no g++") for s in samples])
