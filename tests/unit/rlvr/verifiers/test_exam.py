# ruff: noqa: E501 - programs in one line each
"""Tests of functions: every way they are written, honest programs, and programs that cheat."""

from __future__ import annotations

import functools

import pytest

from halo_forge.core.errors import UserError, VerifierFault
from halo_forge.rlvr.verifiers import (
    HumanEvalVerifier,
    MBPPVerifier,
    PytestVerifier,
    UnittestVerifier,
)
from halo_forge.rlvr.verifiers.audit import audit, corpus

ADD = "def add(a, b):\n    return a + b\n"
SUB = "def add(a, b):\n    return a - b\n"

# name: (tests, right program, wrong program that passes some, share it passes)
STYLES = {
    "asserts": ("assert add(1, 2) == 3\nx = 4\nassert add(x, 0) == 4\n", ADD, SUB, 1 / 2),
    "check": (
        "def check(candidate):\n    assert candidate(1, 0) == 1\n    assert candidate(1, 2) == 3\n",
        ADD, SUB, 0,
    ),
    "functions": (
        "from solution import add\n\ndef test_zero():\n    assert add(1, 0) == 1\n\n"
        "def test_more():\n    for i in range(200):\n        assert add(i, i) == 2 * i\n",
        ADD, SUB, 1 / 2,
    ),
    "class of functions": (
        "import anything\n\nclass TestAdd:\n    def setup_method(self):\n        self.one = 1\n\n"
        "    def test_zero(self):\n        assert anything.add(self.one, 0) == 1\n\n"
        "    def test_two(self):\n        assert anything.add(self.one, 1) == 2\n",
        ADD, SUB, 1 / 2,
    ),
    "unittest": (
        "import unittest\nfrom prog import add\n\nclass Add(unittest.TestCase):\n"
        "    def test_zero(self):\n        self.assertEqual(add(1, 0), 1)\n"
        "    def test_more(self):\n        for i in range(3):\n            with self.subTest(i):\n"
        "                self.assertEqual(add(i, 1), i + 1)\n"
        "    @unittest.skip('not now')\n    def test_later(self):\n        self.fail()\n"
        "    @unittest.expectedFailure\n    def test_other(self):\n"
        "        self.assertEqual(add(1, 0), 2)\n",
        ADD, SUB, 2 / 3,
    ),
    "pytest": (
        "import pytest\nfrom solution import add\n\n"
        "@pytest.mark.parametrize('b', [0, 1, 2, 3])\ndef test_add(b):\n"
        "    assert add(1, b) == 1 + b\n",
        ADD, SUB, 1 / 4,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def judge(sandbox, make_sample):
    """Judge a program by tests; short limits."""

    @functools.cache
    def verifier(kind):
        return kind(timeout=1, sandbox=sandbox)

    def run(program, tests, kind=PytestVerifier, *, entry="add", text="Write it."):
        answer = program if "```" in program else f"```python\n{program}```"
        sample = make_sample(answer, text=text, test_code=tests, entry_point=entry)
        return verifier(kind).judge(sample)

    return run


@pytest.mark.parametrize("style", STYLES)
def test_styles(style, judge) -> None:
    """All tests passed is 1.0, some are half their share; unittest's verifier gives no part."""
    tests, right, wrong, share = STYLES[style]
    whole = judge(right, tests)
    assert (whole.success, whole.reward, whole.metadata["stage"]) == (True, 1.0, "tests")
    assert whole.metadata["integrity"] == "strong"
    part = judge(wrong, tests)
    assert (part.success, part.reward) == (False, pytest.approx(0.5 * share))
    assert part.metadata["tests_passed"] == round(share * part.metadata["tests_total"])
    assert part.error
    assert judge(wrong, tests, UnittestVerifier).reward == 0.0
    assert judge(right, tests, UnittestVerifier).reward == 1.0
    assert judge(right, tests, MBPPVerifier).reward == 1.0


STACK = """\
class Stack:
    def __init__(self, *items): self.items = list(items)
    def push(self, item): self.items.append(item)
    def pop(self): return self.items.pop()
    def __len__(self): return len(self.items)
    def __eq__(self, other): return self.items == other.items
    def __lt__(self, other): return len(self) < len(other)
    def __contains__(self, item): return item in self.items
    def __str__(self): return f"Stack{self.items}"
    def __iter__(self): return iter(self.items)
    def __getitem__(self, at): return self.items[at]
    def __add__(self, other): return Stack(*self.items, *other.items)
"""
HONEST = {
    "objects": (
        STACK,
        "def test_stack():\n    s = Stack(1)\n    s.push(2)\n    assert len(s) == 2 and s.items == [1, 2]\n"
        "    assert 2 in s and 7 not in s and list(s) == [1, 2] and s[0] == 1\n"
        "    assert s.pop() == 2\n    assert s == Stack(1) and s != Stack(2) and Stack() < s\n"
        "    assert str(s) == 'Stack[1]' and s\n    s.items = [5]\n    assert s.pop() == 5\n"
        "    assert (Stack(1) + Stack(2)).items == [1, 2]\n",
    ),
    "exceptions": (
        "class TooBig(ValueError):\n    pass\n\ndef f(x):\n    if x > 9:\n        raise TooBig(x)\n"
        "    return {}[x]\n",
        "from solution import TooBig, f\n\ndef test_it():\n    for kind in (TooBig, ValueError):\n"
        "        try:\n            f(10)\n            raise SystemError\n        except kind:\n"
        "            pass\n    try:\n        f(1)\n    except LookupError:\n        return\n    assert 0\n",
    ),
    "arguments that are changed": (
        "def f(l, d, s):\n    l.sort(); d['b'] = 2; s.discard(1)\n",
        "l, d, s = [3, 1], {'a': 1}, {1, 2}\nf(l, d, s)\nassert l == [1, 3]\n"
        "assert d == {'a': 1, 'b': 2} and s == {2}\n",
    ),
    "functions as arguments": (
        "def twice(f, x):\n    return f(f(x))\n\ndef keyed(items, key):\n    return sorted(items, key=key)\n",
        "assert twice(lambda x: x + 3, 1) == 7\nassert keyed([1, 2, 3], key=lambda x: -x) == [3, 2, 1]\n"
        "assert twice(lambda x: twice(lambda y: y * 2, x), 1) == 16\n",
    ),
    "functions as results": (
        "def adder(n):\n    return lambda x: x + n\n",
        "assert adder(2)(3) == 5\nassert callable(adder(1))\n",
    ),
    "generators": (
        "def count():\n    n = 0\n    while True:\n        yield n\n        n += 1\n",
        "import itertools\nassert list(itertools.islice(count(), 3)) == [0, 1, 2]\nassert 5 in count()\n"
        "assert next(iter(count())) == 0\n",
    ),
    "what is printed": (
        "def hello(name):\n    print('hello', name)\n",
        "def test_hello(capsys):\n    hello('you')\n    assert capsys.readouterr().out == 'hello you\\n'\n",
    ),
    "global variables": ("LIMIT = 7\nnames = ['a']\n", "assert LIMIT == 7\nassert names == ['a']\n"),
    "a program with a main part": (
        "def f():\n    return 1\n\nif __name__ == '__main__':\n    print(input())\n",
        "assert f() == 1\n",
    ),
    "a program that prints while it loads": ("print('x' * 9999)\ndef f():\n    return 1\n", "assert f() == 1\n"),
    "a large result": ("def f():\n    return list(range(200_000))\n", "assert f() == list(range(200_000))\n"),
    "import of everything": ("def f(): return 1\n_g = 2\n", "from solution import *\nassert f() == 1\n"),
    "standard library": (
        "from collections import Counter\nfrom fractions import Fraction\nimport datetime\n\n"
        "def c(x): return Counter(x)\ndef q(): return Fraction(1, 3)\n"
        "def d(): return datetime.date(2024, 2, 29)\n",
        "from fractions import Fraction\nimport datetime, math\nassert c('aab') == {'a': 2, 'b': 1}\n"
        "assert q() == Fraction(1, 3) and math.isclose(q(), 1 / 3)\nassert d() == datetime.date(2024, 2, 29)\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_honest_programs_pass(name, judge) -> None:
    """What tests ordinarily do with a program works across the wall."""
    program, tests = HONEST[name]
    result = judge(program, tests, entry=None)
    assert (result.reward, result.error) == (1.0, None)


FUNCTIONS = {one.name: one for one in corpus() if one.task == "add-python"}


@pytest.mark.parametrize("kind", [PytestVerifier, UnittestVerifier, HumanEvalVerifier])
def test_functions_are_paid_what_they_deserve(sandbox, kind) -> None:
    """Whatever a program does to its own process, no wrong value becomes a right one."""
    found = audit(kind(timeout=1, sandbox=sandbox), list(FUNCTIONS.values()))
    assert (found.false_accepts, found.false_rejects) == ((), ())
    assert found.judged == len(FUNCTIONS) > 20


SPY = """\
import glob, os, re, threading, time
seen = []
def look():
    while True:
        for pattern in ('/tmp/**', '/dev/shm/**', '/var/tmp/**', '/box/*', '/run/**'):
            for path in glob.glob(pattern, recursive=True):
                try:
                    with open(path, 'rb') as file:
                        seen.append(file.read(10**5))
                except OSError:
                    pass
threading.Thread(target=look, daemon=True).start()
time.sleep(0.3)
def add(a, b):
    time.sleep(0.1)
    return 3 if any(b'%d' % (4710 + 1) in text for text in seen) else -1
"""


@pytest.mark.parametrize("style", ["functions", "pytest"])
def test_the_tests_lie_nowhere(style, judge) -> None:
    """While the tests run, no file that the program can read holds them."""
    head = "import pytest\n" if style == "pytest" else ""
    tests = f"{head}def test_it():\n    assert add(4711, 0) == 3\n"
    assert judge(SPY, tests).reward == 0.0
    assert judge("def add(a, b):\n    return 3\n", tests).reward == 1.0


PLANTER = """\
import os, threading, time
os.makedirs('/tmp/evil', exist_ok=True)
evil = "import _pytest.python as p\\np.Function.runtest = lambda self: None\\n"
def plant(folder):
    for name, text in (
        ('pytest.ini', '[pytest]\\npythonpath = /tmp/evil\\naddopts = -p evil\\n'),
        ('conftest.py', evil), ('evil.py', evil), ('colorsys.py', evil), ('sitecustomize.py', evil),
    ):
        try:
            with open(os.path.join(folder, name), 'w') as file:
                file.write(text)
        except OSError:
            pass
def watch():
    while True:
        for folder, folders, _ in os.walk('/tmp'):
            plant(folder)
        plant('/box')
plant('/tmp'); plant('/tmp/evil'); plant('/box')
threading.Thread(target=watch, daemon=True).start()
time.sleep(0.3)
def add(a, b):
    return a - b
"""


def test_pytest_reads_no_settings_of_the_program(judge) -> None:
    """Whatever a program writes, beside the tests or above them, pytest does not look there."""
    tests = "import colorsys, pytest\ndef test_it(tmp_path):\n    assert add(1, 2) == 3\n"
    assert judge(PLANTER, tests).reward == 0.0
    assert judge(ADD, tests).reward == 1.0


def test_pytest_says_what_was_compared(judge) -> None:
    """The note of a failing test shows both sides, as pytest does."""
    tests = "import pytest\ndef test_it():\n    assert add(1, 2) == 4\n"
    assert "assert 3 == 4" in judge(ADD, tests).error


@pytest.mark.parametrize("name", ["leaves", "exits", "kills its parent", "kills all"])
def test_a_program_that_ends_itself_fails_whatever_the_test_thinks(name, judge) -> None:
    """A test that expects an error is not passed by a program that is no more."""
    tests = "def test_it():\n    try:\n        add(1, 2)\n    except Exception:\n        pass\n"
    assert judge("def add(a, b):\n    raise ValueError\n", tests).reward == 1.0
    exploit = FUNCTIONS[name if name in FUNCTIONS else f"{name} when it is called"]
    assert judge(exploit.sample.completion, tests).reward == 0.0


def test_objects_that_compare_themselves_are_noted(judge) -> None:
    """Where a class was asked about itself, the verdict is weak."""
    program, tests = HONEST["objects"]
    assert judge(program, tests, entry=None).metadata["integrity"] == "weak"
    plain = "def test_it():\n    s = Stack(1)\n    assert len(s) == 1 and s.pop() == 1\n"
    assert judge(program, plain, entry=None).metadata["integrity"] == "strong"


def test_time_is_limited_and_earlier_tests_count(judge) -> None:
    """A program that hangs fails from there on; what passed before stays passed."""
    hang = "def add(a, b):\n    while a == 2: pass\n    return a + b\n"
    tests = "assert add(1, 2) == 3\nassert add(2, 2) == 4\nassert add(1, 1) == 2\n"
    result = judge(hang, tests)
    assert (result.reward, result.metadata["tests"]) == (
        pytest.approx(0.5 / 3), ["passed", "failed", "not_run"],
    )  # fmt: skip
    assert result.metadata["limits"] == ["cpu_limit"]
    assert "cpu limit" in result.error


def test_memory_of_the_program_is_its_own(judge, sandbox, make_sample) -> None:
    """The program's memory is limited as ever; what it returns has room on the other side too."""
    greedy = "def add(a, b):\n    x = bytearray(700 << 20)\n    return a + b\n"
    assert judge(greedy, "assert add(1, 2) == 3\n").reward == 0.0
    large = "def add(a, b):\n    return [tuple(range(i, i + 5)) for i in range(150_000)]\n"
    patient = PytestVerifier(timeout=20, sandbox=sandbox)
    sample = make_sample(f"```python\n{large}```", test_code="assert len(add(1, 2)) == 150_000\n")
    assert patient.judge(sample).reward == 1.0


@pytest.mark.parametrize(
    ("tests", "entry", "said"),
    [
        ("assert add(1, 2 == 3\n", "add", "SyntaxError"),
        ("def check(candidate):\n    assert 1\n", None, "need an entry_point"),
        (None, "add", "has no test code"),
    ],
)
def test_broken_tests_are_a_fault(judge, tests, entry, said) -> None:
    """Tests that cannot be run are the user's to mend, and cost no program its reward."""
    with pytest.raises(VerifierFault, match=said):
        judge(ADD, tests, entry=entry)


def test_tests_that_test_nothing_earn_nothing(judge) -> None:
    """Without a single test nothing was shown."""
    assert judge(ADD, "x = 1\n").reward == 0.0
    assert (
        judge(ADD, "def test_it():\n    import unittest\n    raise unittest.SkipTest\n").reward
        == 0.0
    )


def test_tests_never_come_from_the_answer(judge) -> None:
    """Tests that an answer brings along are part of its program and no more."""
    answer = f"{SUB}\ndef test_mine():\n    assert True\n\ndef check(candidate):\n    pass\n"
    assert judge(answer, STYLES["functions"][0]).reward == 0.25
    assert judge(answer, STYLES["check"][0], HumanEvalVerifier).reward == 0.0


def test_tests_from_a_file(sandbox, make_sample, tmp_path) -> None:
    """A file serves prompts that bring no tests; the prompt's own come first."""
    path = tmp_path / "test_add.py"
    path.write_text(STYLES["functions"][0])
    verifier = PytestVerifier(test_file=path, timeout=1, sandbox=sandbox)
    assert verifier.verify(f"```python\n{ADD}```").reward == 1.0
    assert verifier.verify(f"```python\n{SUB}```").reward == 0.25
    path.write_text(STYLES["asserts"][0])
    changed = PytestVerifier(test_file=path, timeout=1, sandbox=sandbox)
    changed.start()
    assert changed.fingerprint() != verifier.fingerprint()
    own = make_sample(f"```python\n{SUB}```", test_code="assert add(3, 1) == 2\n")
    assert verifier.judge(own).reward == 1.0
    with pytest.raises(UserError, match=r"gone\.py: cannot be read"):
        PytestVerifier(test_file=tmp_path / "gone.py")


PROMPT = '''\
from typing import List
import math

def root(x: int) -> int:
    """ a helper """
    return math.isqrt(x)

def roots(numbers: List[int]) -> List[int]:
    """ Return the roots.
    >>> roots([4])
    [2]
    """
'''


@pytest.mark.parametrize(
    "answer",
    [
        "    return [root(n) for n in numbers]\n",
        "return [root(n) for n in numbers]\n",
        "```python\n    return [root(n) for n in numbers]\n```",
        "def roots(numbers: List[int]) -> List[int]:\n    return [math.isqrt(n) for n in numbers]\n",
        "```python\ndef roots(numbers):\n    return [int(n ** 0.5) for n in numbers]\n```",
        PROMPT + "    return [root(n) for n in numbers]\n",
        f"Here:\n```python\n{PROMPT}    return [root(n) for n in numbers]\n```\nIt works.",
    ],
)
def test_answers_to_humaneval(judge, answer) -> None:
    """The whole function or its body, with or without a fence."""
    tests = "def check(candidate):\n    assert candidate([4, 9]) == [2, 3]\n"
    text = f"Complete it:\n{PROMPT}"
    if "```" not in answer:
        answer = f"```\n{answer}```" if answer.startswith("def") else answer + "\n```\n"
    result = judge(answer, tests, HumanEvalVerifier, entry="roots", text=text)
    assert (result.reward, result.error) == (1.0, None)
