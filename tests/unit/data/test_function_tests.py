"""What test code says of the function it tests, by real and made-up tests."""

import json
import re

import pytest

from halo_forge.data.function_tests import (
    Calls,
    calls_of,
    heads_of,
    missing_imports,
    read_tests,
)
from tests.needs import public_file


def test_asserts_come_out_of_a_function():
    """One function around asserts is taken off, and the text is the same code."""
    found = read_tests(
        "def test_solution():\n    import math\n    assert f(1) == 2\n    assert f(2)"
    )
    assert found.before == ("import math",)
    assert found.asserts == ("assert f(1) == 2", "assert f(2)")
    assert found.source(found.asserts[1:]) == "import math\nassert f(2)\n"


@pytest.mark.parametrize("code", ["x = 1", "", "def test(): pass"])
def test_no_asserts(code):
    """Tests that assert nothing are no tests."""
    with pytest.raises(ValueError, match="no assert"):
        read_tests(code)


@pytest.mark.parametrize(
    ("code", "entry", "helpers"),
    [
        ("assert f(1) == 2", "f", ()),
        ("assert set(f(1)) == set(2)", "f", ()),
        ("import math\nassert math.isclose(f(1), 2)", "f", ()),
        ("assert chain([Pair(1, 2)], 4) == 3", "chain", ("Pair",)),
        ("assert sum(10, 15) == 6", "sum", ()),
        ("def twice(x):\n    return 2 * x\nassert twice(f(1)) == 2", "f", ()),
    ],
)
def test_entry_point(code, entry, helpers):
    """The outermost call of the answer's is the function; one built in or imported is not."""
    found = calls_of(code)
    assert (found.entry_point, found.helpers) == (entry, helpers)


def test_solution_decides_between_class_and_function():
    """With a solution the function is what it defines as one, and heads have its names."""
    solution = (
        "class Pair(object):\n    def __init__(self, a, b=1):\n        pass\n"
        "def chain(arr, n: int) -> int:\n    return 0\n"
    )
    calls = calls_of("assert Pair(1, 2) != chain([], 0)", solution)
    assert calls.entry_point == "chain"
    assert heads_of(calls, solution) == {
        "chain": "chain(arr, n: int) -> int",
        "Pair": "Pair(a, b=1)",
    }


def test_lost_imports_come_back():
    """Modules that are used and not imported are those of the standard library."""
    assert missing_imports("assert math.isclose(f(1), x.y) and re.match") == [
        "import math",
        "import re",
    ]
    assert missing_imports("import math\nassert math.isclose(f(1), 1)") == []


def test_heads_without_a_solution():
    """Arguments are counted, and keywords keep their names."""
    calls = calls_of("assert f(1, 'x', step=2) == 3")
    assert heads_of(calls) == {"f": "f(a, b, step)"}
    assert heads_of(Calls("g")) == {"g": "g()"}


def test_tests_that_call_nothing():
    """There is no function to name."""
    with pytest.raises(ValueError, match="call no function"):
        calls_of("assert 1 == 1")


@pytest.mark.parametrize("name", ["mbpp_train.jsonl", "mbpp_sanitized.jsonl"])
def test_every_task_of_mbpp_has_an_entry_point(name):
    """The name found is called by every assert of the task."""
    for line in public_file(name).read_text("utf-8").splitlines():
        tests = read_tests(json.loads(line)["tests"])
        entry = calls_of(tests.source()).entry_point
        assert all(f"{entry}(" in one for one in tests.asserts)


def test_what_is_wrong_with_mbpp():
    """The figures of the documents: tasks that name their function, and wrong entry points."""
    named = wrong = total = 0
    for name in ("mbpp_train.jsonl", "mbpp_sanitized.jsonl"):
        for line in public_file(name).read_text("utf-8").splitlines():
            row = json.loads(line)
            entry = calls_of(read_tests(row["tests"]).source()).entry_point
            total += 1
            wrong += re.search(rf"\b{row['entry_point']}\(", row["tests"]) is None
            if name == "mbpp_train.jsonl":
                named += re.search(rf"\b{re.escape(entry)}\b", row["prompt"]) is not None
    assert (total, wrong, named) == (631, 16, 8)
