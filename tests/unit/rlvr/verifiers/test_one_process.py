# ruff: noqa: E501 - programs in one line each
"""Tests that cannot be run apart from the program: run beside it, weakly, and with a canary."""

from __future__ import annotations

import ast
import functools

import pytest

from halo_forge.rlvr.verifiers import MBPPVerifier, PytestVerifier, UnittestVerifier
from halo_forge.rlvr.verifiers.exam.reading import one_process_reason

SHAPE = """\
factor = 10

class Shape:
    sides = 4
    def area(self): return self.sides * factor
    def __enter__(self): return self
    def __exit__(self, *_): return None
    def __truediv__(self, number): return self.area() / number

def area(): return Shape().area()

async def later(): return Shape().area()
"""
WRONG = SHAPE.replace("sides = 4", "sides = 3")
AREA = "def test_area():\n    assert Shape().area() == 40\n"

# why: (tests beside AREA or in its place, which a right program passes, apart they could not)
APART = {
    "isinstance": "def test_kind():\n    assert isinstance(Shape(), Shape)\n" + AREA,
    "type()": "def test_kind():\n    assert type(Shape()) is Shape\n" + AREA,
    "a subclass": "from solution import Shape\nclass Triangle(Shape):\n    sides = 3\n\n" + AREA
    + "def test_three():\n    assert Triangle().area() == 30\n",
    "a context manager": "from solution import Shape\ndef test_with():\n    with Shape() as one:\n        assert one.area() == 40\n",
    "an assignment": "import solution\nfrom solution import Shape\n" + AREA
    + "def test_changed():\n    solution.factor = 1\n    assert Shape().area() == 4\n    solution.factor = 10\n",
    "the fixture monkeypatch": "import solution\nfrom solution import Shape\n" + AREA
    + "def test_patched(monkeypatch):\n    monkeypatch.setattr(solution, 'factor', 1)\n    assert Shape().area() == 4\n",
    "the module unittest.mock": "import solution\nfrom solution import Shape\nfrom unittest.mock import patch\n" + AREA
    + "def test_mocked():\n    with patch('solution.Shape') as fake:\n        fake().area.return_value = 7\n        assert solution.area() == 7\n",
    "the module inspect": "import inspect\nfrom solution import Shape, area\n" + AREA
    + "def test_signature():\n    assert not inspect.signature(area).parameters\n",
    "the module asyncio": "import asyncio, solution\nfrom solution import Shape\n" + AREA
    + "def test_later():\n    assert asyncio.run(solution.later()) == 40\n",
}  # fmt: skip
STYLES = {
    "functions": APART["isinstance"],
    "pytest": "import pytest\n@pytest.mark.parametrize('n', [1, 2])\ndef test_n(n):\n    assert isinstance(Shape(), Shape) and Shape().area() * n == 40 * n\n",
    "unittest": "import unittest\nfrom solution import Shape\nclass Tests(unittest.TestCase):\n    def test_kind(self):\n        self.assertTrue(isinstance(Shape(), Shape))\n    def test_area(self):\n        self.assertEqual(Shape().area(), 40)\n",
    "asserts": "assert isinstance(Shape(), Shape)\nassert Shape().area() == 40\n",
    "check": "def check(candidate):\n    assert candidate() == 40 and isinstance(Shape(), Shape)\n",
}


@pytest.fixture(scope="module")
def judge(sandbox, make_sample):
    @functools.cache
    def verifier(kind, one_process):
        return kind(timeout=5, sandbox=sandbox, one_process=one_process)

    def run(program, tests, kind=PytestVerifier, one_process=None):
        entry = "area" if tests == STYLES["check"] else None
        sample = make_sample(f"```python\n{program}```", test_code=tests, entry_point=entry)
        return verifier(kind, one_process).judge(sample)

    return run


@pytest.mark.parametrize("why", APART)
def test_what_cannot_be_run_apart_runs_together(why, judge) -> None:
    """Such tests pass a right program, fail a wrong one, and the verdict says that it is weak."""
    right = judge(SHAPE, APART[why])
    assert (right.reward, right.error, right.metadata["integrity"]) == (1.0, None, "weak")
    assert why in right.metadata["weak"]
    assert not judge(WRONG, APART[why]).success
    assert not judge(SHAPE, APART[why], one_process=False).success  # else why run it so


@pytest.mark.parametrize("style", STYLES)
def test_every_style(style, judge) -> None:
    """All ways of writing tests run so, and give their partial credit."""
    tests = STYLES[style]
    assert judge(SHAPE, tests).reward == 1.0
    assert judge(WRONG, tests).reward < 0.5
    assert judge(WRONG, tests, UnittestVerifier).reward == 0.0
    assert judge(SHAPE, tests, MBPPVerifier).reward == 1.0
    shown = judge(SHAPE, tests).metadata
    assert shown["tests_passed"] == shown["tests_total"] == len(shown["tests"])


def test_on_request(judge) -> None:
    """Asked for, any tests run in one process; asked not to, none do."""
    apart = judge(SHAPE, AREA)
    together = judge(SHAPE, AREA, one_process=True)
    assert (apart.metadata["integrity"], together.metadata["integrity"]) == ("strong", "weak")
    assert apart.reward == together.reward == 1.0
    assert "asked for" in together.metadata["weak"]


CHEATS = {
    "leaves": "import os\nos._exit(0)\n",
    "leaves later": "import os\nclass Shape:\n    def area(self): os._exit(0)\n",
    "exits": "raise SystemExit(0)\n",
    "ends all at the end": "import atexit, os\natexit.register(os._exit, 0)\n" + WRONG,
    "skips": "import unittest\nraise unittest.SkipTest('no')\n",
    "skips in the call": "import unittest\nclass Shape:\n    def area(self): raise unittest.SkipTest\n",
    "skips by pytest": "import pytest\nclass Shape:\n    def area(self): pytest.skip('no')\n",
    "patches pytest's function": "import pytest\nfrom _pytest.python import Function\nFunction.runtest = lambda self: None\n" + WRONG,
    "patches pytest's report": "import _pytest.reports as r\n_real = r.TestReport.from_item_and_call.__func__\n"
    "def _fake(cls, item, call):\n    found = _real(cls, item, call)\n    found.outcome = 'passed'\n    return found\n"
    "r.TestReport.from_item_and_call = classmethod(_fake)\n" + WRONG,
    "patches unittest": "import unittest\nfor _name in dir(unittest.TestCase):\n    if _name.startswith('assert'):\n"
    "        setattr(unittest.TestCase, _name, lambda *a, **k: None)\n" + WRONG,
    "patches unittest's run": "import unittest\nunittest.TestCase.run = lambda self, result: result.addSuccess(self)\n" + WRONG,
    "no more errors": "import builtins\nbuiltins.AssertionError = type('Never', (BaseException,), {'__new__': lambda *a: None})\n" + WRONG,
    "takes the collection away": "import _pytest.main as m\nm.Session.perform_collect = lambda self, *a, **k: []\n" + WRONG,
}  # fmt: skip


@pytest.mark.parametrize("cheat", CHEATS)
@pytest.mark.parametrize("style", ["functions", "pytest", "unittest"])
def test_cheats(cheat, style, judge) -> None:
    """Programs that leave, skip, or make every test pass earn no more than a wrong program does."""
    verdict = judge(CHEATS[cheat], STYLES[style])
    assert not verdict.success
    assert verdict.reward <= judge(WRONG, STYLES[style]).reward


def test_a_loop_keeps_what_came_before(judge) -> None:
    """Tests that ended before the time was up count; the program cannot pass them all so."""
    tests = "def test_kind():\n    assert isinstance(Shape(), Shape)\n" + AREA
    late = SHAPE.replace("return self.sides * factor", "\n        while True: pass")
    verdict = judge(late, tests)
    assert (verdict.reward, verdict.metadata["limits"]) == (0.25, ["cpu_limit"])


def test_tests_may_skip_themselves(judge) -> None:
    """A test whose source says so may be skipped, and does not count then."""
    tests = (
        "import unittest\n"
        + APART["isinstance"]
        + "@unittest.skip('later')\ndef test_more():\n    assert 0\n"
    )
    assert judge(SHAPE, tests).reward == 1.0
    assert judge(CHEATS["skips in the call"], tests).metadata["tests"] == [
        "passed",
        "failed",
        "skipped",
    ]


@pytest.mark.parametrize(
    "tests",
    [
        "assert isinstance(f(1), int)\n",
        "import math\ndef test_it():\n    with open('/dev/null') as file:\n        assert f(file.name)\n",
        "import pytest\nfrom solution import f, Bad\ndef test_it():\n    with pytest.raises(Bad):\n        f(1)\n",
        "import copy\ndef check(candidate):\n    x = [1]\n    assert candidate(copy.deepcopy(x)) == x\n",
        "class Helper(dict):\n    pass\n\ndef test_it():\n    assert type(f(Helper())) is dict\n",
        "import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n        self.x = f(1)\n",
    ],
)
def test_ordinary_tests_stay_apart(tests) -> None:
    """What works across the wall is not weakened."""
    assert one_process_reason(ast.parse(tests), {"solution"}) == ""
