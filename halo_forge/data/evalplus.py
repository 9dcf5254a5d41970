"""Tests of EvalPlus (Liu et al. 2023, arXiv:2305.01210) as source code for our verifiers.

EvalPlus publishes inputs and a reference solution (its releases), or a script that needs numpy (its
repositories on the hub). Here either becomes one function ``check(candidate)`` that needs nothing
but the standard library. It runs beside the program, never in its process, so that the reference
solution in it stays hidden.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from halo_forge.data.items import Unfit
from halo_forge.utils.typing import override

__all__ = ["as_check", "tests_of", "without_numpy"]

# What JSON has made of a task's arguments, by number: the release is read back by evalplus 0.3.1 as
# evalplus/data/mbpp.py says, whose tasks ask for tuples, sets and complex numbers.
_ARGUMENTS = {
    "[tuple(a) for a in given]": (
        *(2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630),
        *(726, 740, 744, 809),
    ),
    "[[tuple(b) for b in a] for a in given]": (
        *(63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780),
    ),
    "[[tuple(b) for b in given[0]], given[1]]": (75, 413, 444, 753),
    "[given[0], tuple(given[1])]": (106, 750),
    "[[set(b) if b else {} for b in given[0]]]": (115,),
    "[float(given[0]), complex(given[1])]": (124,),
    "[tuple(given[0]), *given[1:]]": (250, 307, 405, 446, 617, 720, 763, 808),
    "[complex(given[0])]": (252,),
    "[tuple(tuple(b) for b in a) for a in given]": (259, 401, 445),
    "[tuple(tuple(b) if isinstance(b, list) else b for b in given[0])]": (278,),
    "[{key: tuple(a) for key, a in given[0].items()}, *given[1:]]": (722,),
    "_tuples(given)": (580, 615, 791),
}
_READ = {f"Mbpp/{number}": how for how, numbers in _ARGUMENTS.items() for number in numbers}

# Tasks whose output is compared as a set, or by whether there is one; two more have a second
# right answer, `_digits` and `_pyramid` (evalplus 0.3.1,
# evalplus/eval/_special_oracle.py).
_SETS = (
    "Diff",
    "common_in_nested_lists",
    "extract_singly",
    "find_char_long",
    "find_dissimilar",
    "intersection_array",
    "larg_nnum",
    "similar_elements",
)
_TRUTHS = ("check_str", "text_match_three", "text_starta_endb")

_TESTS = """\
import copy, json, math
_space = {{}}
exec({reference!r}, _space)
_reference = _space[{entry!r}]

def _tuples(x):
    return tuple(map(_tuples, x)) if isinstance(x, list) else x

_inputs = [{arguments} for given in json.loads({inputs!r})]

def _near(a, b, atol):
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_near(x, y, atol) for x, y in zip(a, b))
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(b, (int, float)):
        return a == b
    return isinstance(a, (int, float)) and math.isclose(a, b, rel_tol=1e-7, abs_tol=atol)

def _floats(x):
    return isinstance(x, float) or (isinstance(x, (list, tuple)) and x and all(map(_floats, x)))

def _digits(a, b):
    a, b = str(a), str(b)
    width = max(len(a), len(b))
    return sum(abs(int(x) - int(y)) for x, y in zip(a.zfill(width), b.zfill(width)))

def _pyramid(base, height):
    return round(base**2 + 2 * base * math.sqrt((base / 2) ** 2 + height**2))

def _also_right(got, given):
    if {entry!r} == "digit_distance_nums":
        return got == _digits(*given)
    return {entry!r} == "surface_Area" and abs(got - _pyramid(*given)) <= {atol!r}

def _same(got, want, given):
    if {entry!r} == "find_zero":
        return abs(sum(c * math.pow(got, i) for i, c in enumerate(given[0]))) <= 1e-4
    if {entry!r} in {sets!r}:
        return set(got) == set(want)
    if {entry!r} in {truths!r}:
        return got == want if isinstance(want, bool) else (got is None) == (want is None)
    if got == want or _also_right(got, given):
        return True
    atol = {atol!r} or (1e-6 if _floats(want) else 0)
    return atol != 0 and type(got) is type(want) and _near(got, want, atol)

def check(candidate):
    compared = 0
    for given in _inputs:
        try:
            want = _reference(*copy.deepcopy(given))
        except Exception:
            continue
        compared += 1
        assert _same(candidate(*copy.deepcopy(given)), want, given), given
    assert compared, "the reference fails on every input"
"""

_NUMPY = '''\
class np:
    """What the tests use of numpy, for numbers and lists of them."""
    ndarray = ()
    @staticmethod
    def allclose(a, b, rtol=1e-07, atol=0.0):
        if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
            return len(a) == len(b) and all(np.allclose(x, y, rtol, atol) for x, y in zip(a, b))
        if isinstance(a, (list, tuple)) or isinstance(b, (list, tuple)):
            return False
        return a == b or (a != a and b != b) or abs(a - b) <= atol + rtol * abs(b)
    class testing:
        @staticmethod
        def assert_allclose(a, b, rtol=1e-07, atol=0.0):
            assert np.allclose(a, b, rtol, atol)
'''


def tests_of(row: Mapping[str, Any], reference: str) -> str:
    """Return tests for a row of an EvalPlus release, by its base and plus inputs.

    Args:
        row: The row: ``task_id``, ``entry_point``, ``base_input``, ``plus_input``, ``atol``.
        reference: The solution that says what is right.
    """
    inputs = [*(row.get("base_input") or []), *(row.get("plus_input") or [])]
    return _TESTS.format(
        reference=reference,
        entry=row["entry_point"],
        arguments=_READ.get(row["task_id"], "given"),
        inputs=json.dumps(inputs),
        sets=_SETS,
        truths=_TRUTHS,
        atol=row.get("atol") or 0,
    )


def as_check(script: str, entry_point: str) -> str:
    """Return a script of tests as a module with one function ``check(candidate)``.

    The loops and asserts of the script become its body, in which ``entry_point`` is the candidate.
    A script that has such a function already comes back as it is.

    Raises:
        Unfit: If the script is no Python, or has neither a loop nor an assert.
    """
    try:
        tree = ast.parse(script)
    except (SyntaxError, ValueError) as error:
        raise Unfit(f"the tests are no Python: {error}") from error
    if any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in tree.body):
        return script
    tests = [node for node in tree.body if isinstance(node, ast.For | ast.Assert)]
    if not tests:
        raise Unfit("the tests have neither a loop nor an assert")
    rest = [node for node in tree.body if not isinstance(node, ast.For | ast.Assert)]
    body = "\n".join(ast.unparse(_Candidate(entry_point).visit(node)) for node in tests)
    lines = ["def check(candidate):", *(f"    {line}" for line in body.splitlines())]
    return "\n".join([*map(ast.unparse, rest), *lines]) + "\n"


def without_numpy(tests: str) -> str:
    """Return tests that do not need numpy for the little that EvalPlus uses of it."""
    return tests.replace("import numpy as np\n", _NUMPY, 1)


class _Candidate(ast.NodeTransformer):
    """Calls the candidate instead of a function by name."""

    def __init__(self, entry_point: str) -> None:
        self._entry_point = entry_point

    @override
    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name("candidate", node.ctx) if node.id == self._entry_point else node
