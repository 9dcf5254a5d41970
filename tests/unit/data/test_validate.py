"""Checks of prompts files: each rule, and a file full of faults of which none is missed."""

import json

import pytest

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Verdict, VerifyResult
from halo_forge.data.prompts import scan_prompts
from halo_forge.data.validate import check_gold, check_overlap, check_prompts

_GOOD = [{"input": "1\n", "expected": "1\n"}, {"input": "2\n", "expected": "4\n"}]
_SUBJECTS = [
    "Square a number read from one line.",
    "Reverse the words of the sentence you are given.",
    "Tell whether a year has a leap day in February.",
    "Find the cheapest way through the toll grid.",
    "Say how many vowels the poem contains altogether.",
    "Sort seven bridges by their length, longest first.",
    "Give the change in as few coins as the till allows.",
]


def _good(at, **changes):
    return {
        "id": f"good/{at}",
        "prompt": _SUBJECTS[at],
        "language": "cpp",
        "tests": _GOOD,
        **changes,
    }


def _lines(*lines):
    return "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)


@pytest.fixture
def scan(tmp_path):
    """Write objects (or raw lines) to a named file and scan it."""

    def _scan(*lines, name="prompts.jsonl"):
        path = tmp_path / name
        path.write_text(_lines(*lines), "utf-8")
        return scan_prompts(path)

    return _scan


def _found(report):
    return [(item.line, item.rule) for item in report.findings]


PLANTED = [
    (_good(0), None),
    ('{"prompt": "cut', "unreadable"),
    ('["prompt", "a list"]', "unreadable"),
    ('"prompt"', "unreadable"),
    ("prompt: yaml", "unreadable"),
    (_good(1), None),
    ({"promt": "misspelt key"}, "invalid"),
    ({"id": "a", "system": "nothing asked"}, "invalid"),
    ({"prompt": ""}, "invalid"),
    ({"prompt": "asked", "messages": [{"role": "user", "content": "twice"}]}, "invalid"),
    ({"messages": [{"role": "assistant", "content": "nobody asked"}]}, "invalid"),
    ({"messages": [{"role": "robot", "content": "who"}]}, "invalid"),
    ({"prompt": "which language", "language": "c+++"}, "invalid"),
    ({"prompt": "how hard", "difficulty": 11}, "invalid"),
    ({"prompt": "a number as input", "tests": [{"input": 1, "expected": "1"}]}, "invalid"),
    ({"prompt": "no expected", "tests": [{"input": "1"}]}, "invalid"),
    ({"prompt": "no time", "tests": [{"input": "1", "expected": "1", "timeout": -1}]}, "invalid"),
    ({"prompt": "tests as object", "tests": {"input": "1", "expected": "1"}}, "invalid"),
    ({"prompt": "what is on it", "image": "cat.png"}, "invalid"),
    (_good(2, metadata={"source": "mine"}), None),
    (_good(3, id="good/0"), "repeated-id"),
    (_good(0, id="other"), "repeated-prompt"),
    (_good(4, prompt="Square a number  read from one line!"), "near-duplicate"),
    ({"prompt": "Nobody can say whether this is right."}, "no-tests"),
    (
        _good(4, id="t1", tests=[*_GOOD, {"input": "1\n", "expected": "9\n"}]),
        "contradiction",
    ),
    (_good(5, id="t2", tests=[*_GOOD, _GOOD[0]]), "test-repeats"),
    (
        _good(6, id="t3", tests=[{"input": "1", "expected": "7"}, {"input": "2", "expected": "7"}]),
        "constant-output",
    ),
    (
        {"id": "t4", "prompt": "Add up the digits.", "tests": _GOOD, "hidden_tests": _GOOD[:1]},
        "hidden-test-repeats",
    ),
    ({"id": "t5", "prompt": "Name the capital of a country.", "tests": "assert f() == 1"}, None),
    ({"id": "t6", "prompt": "Print a greeting.", "expected_output": "hello\n"}, None),
]


def test_every_planted_fault_is_found_and_nothing_else(scan):
    """Twenty-five faults, one finding each, on the right line; good lines give none."""
    report = check_prompts(scan(*[line for line, _ in PLANTED]))
    expected = [(at, rule) for at, (_, rule) in enumerate(PLANTED, 1) if rule]
    assert _found(report) == expected
    assert len(expected) == 25
    warnings = {"near-duplicate", "no-tests", "test-repeats", "constant-output"}
    warnings |= {"hidden-test-repeats"}
    assert all((item.level == "warning") == (item.rule in warnings) for item in report.findings)
    assert (report.errors, report.warnings) == (20, 5)


def test_findings_name_what_they_mean(scan):
    """Messages point to the other line, and carry the id."""
    report = check_prompts(scan(_good(0), _good(0, id="b"), _good(1, id="good/0")))
    assert [(item.id, item.message) for item in report.findings] == [
        ("b", "the same prompt as line 1"),
        ("good/0", "the id 'good/0' is taken by line 1"),
    ]


def test_file_without_prompts(scan):
    """An empty file is an error of the whole file."""
    report = check_prompts(scan())
    assert _found(report) == [(None, "empty")]
    assert report.errors == 1


def test_hidden_tests_are_checked_too(scan):
    """A contradiction hides in hidden tests as well."""
    hidden = [{"input": "5", "expected": "1"}, {"input": "5", "expected": "2"}]
    report = check_prompts(scan(_good(0, hidden_tests=hidden)))
    assert _found(report) == [(1, "contradiction")]
    assert "hidden_tests expect different outputs for the input '5'" in report.findings[0].message


def test_same_output_up_to_blanks_is_no_contradiction(scan):
    """Two tests that differ in blanks only are a repeat."""
    tests = [*_GOOD, {"input": "1\n", "expected": "1"}]
    assert _found(check_prompts(scan(_good(0, tests=tests)))) == [(1, "test-repeats")]


def test_overlap_of_two_files(scan):
    """A prompt of both files is an error, whatever its system message; a near one a warning."""
    train = scan(_good(0), _good(1), _good(2), name="train.jsonl")
    heldout = scan(
        _good(3),
        _good(1, id="x", system="Be brief."),
        _good(2, prompt="Tell whether a year has a leap day in February!"),
        name="heldout.jsonl",
    )
    findings = check_overlap(heldout, train)
    assert [(item.line, item.level, item.rule) for item in findings] == [
        (2, "error", "overlap"),
        (3, "warning", "near-overlap"),
    ]
    assert findings[0].message.endswith("train.jsonl:2")
    assert findings[1].message.endswith("train.jsonl:3")


def _judge(rewards):
    """A judge that knows the reward of each solution, and answers from the last to the first."""

    def judge(samples):
        for sample in reversed(samples):
            lines = sample.completion.split("\n")
            reward = rewards[lines[1] if len(lines) > 1 else ""]
            yield Verdict(sample, VerifyResult(reward == 1.0, reward, "why\nnot"))

    return judge


def test_gold_references_that_pass(scan):
    """A solution at 1.0 and an empty answer below give no finding, in whatever order they come."""
    prompts = scan(
        _good(0, reference="good"), {"prompt": "x", "expected_output": "", "reference": "good"}
    )
    assert check_gold(prompts, _judge({"good": 1.0, "": 0.0})) == []


def test_gold_reports_each_failure(scan):
    """A solution that fails is an error; what could not be checked is a warning."""
    prompts = scan(
        _good(0, reference="bad"),
        _good(1),
        _good(2, tests="assert f() == 1", reference="good"),
        _good(3, reference="good"),
    )
    findings = check_gold(prompts, _judge({"bad": 0.5, "good": 1.0, "": 0.0}))
    assert {(item.line, item.level, item.message) for item in findings} == {
        (1, "error", "the reference solution scores 0.5: why not"),
        (2, "warning", "no reference solution, so its tests are unchecked"),
        (3, "warning", "test code is not run by the gold check, so it is unchecked"),
    }


def test_gold_empty_answer_must_not_pass(scan):
    """Tests that an empty answer passes are an error, with or without a solution."""
    findings = check_gold(scan(_good(0), _good(1, reference="x")), _judge({"": 1.0, "x": 1.0}))
    assert [item.line for item in findings if item.level == "error"] == [1, 2]


def test_gold_solution_meets_the_hidden_tests(scan):
    """The solution is judged on both test sets at once, under a name of its own."""
    hidden = [{"input": "3\n", "expected": "9\n"}]
    seen = []

    def judge(samples):
        seen.extend(samples)
        return [Verdict(sample, VerifyResult(False, 0.9)) for sample in samples]

    check_gold(scan(_good(0, reference="good", hidden_tests=hidden)), judge)
    empty, solution = seen
    assert empty.prompt.id != solution.prompt.id
    assert [case.input for case in solution.prompt.reference.tests] == ["1\n", "2\n", "3\n"]
    assert solution.prompt.reference.tests[-1].name == "hidden test 1"
    assert solution.completion == "```cpp\ngood\n```"


def test_gold_fault_is_not_a_finding(scan):
    """An answer that could not be judged is our failure, not the file's."""
    with pytest.raises(VerifierFault, match="no g"):
        check_gold(scan(_good(0)), lambda samples: [Verdict(s, fault="no g++") for s in samples])
