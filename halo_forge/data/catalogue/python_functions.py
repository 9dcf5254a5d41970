"""MBPP and HumanEval: Python functions with asserts, and the larger tests of EvalPlus.

Sources: Austin et al. 2021 (arXiv:2108.07732), Chen et al. 2021 (arXiv:2107.03374), Liu et al.
2023 (arXiv:2305.01210). Columns are those of the repositories on the hub; the files that their
authors publish elsewhere are understood as well.
"""

from __future__ import annotations

import builtins
import textwrap
from types import MappingProxyType
from typing import Any

from halo_forge.core.types import Message, Prompt, Reference
from halo_forge.data import evalplus
from halo_forge.data.function_tests import (
    Calls,
    calls_of,
    heads_of,
    missing_imports,
    read_tests,
)
from halo_forge.data.items import (
    Elsewhere,
    Files,
    Item,
    PublicDataset,
    Row,
    Unfit,
    View,
    set_aside,
)
from halo_forge.utils.text import fenced

__all__ = ["humaneval", "humaneval_plus", "mbpp", "mbpp_plus"]

_MBPP_IDS = MappingProxyType(
    {
        "prompt": range(1, 11),
        "test": range(11, 511),
        "validation": range(511, 601),
        "train": range(601, 975),
    }
)
"""Which tasks belong to which split: Austin et al. 2021, appendix A.1."""


def _mbpp_item(row: Row, view: View) -> Item:
    """Read a row of MBPP: full, sanitized, or with its tests as one function."""
    number = _number(row)
    if number not in _MBPP_IDS.get(view.split, ()):
        raise Elsewhere("belongs to another split")
    tests, setup = _mbpp_tests(row)
    solution = _clean(row.get("code"))
    calls = _calls(tests, solution)
    parts = read_tests(tests)
    before = [*setup, *parts.before]
    before = [*missing_imports("\n".join([*before, *parts.asserts])), *before]
    if calls.entry_point in dir(builtins):
        before = [f"from solution import {calls.entry_point}", *before]
    shown, hidden = set_aside(parts.asserts, view.hidden, view.seed, f"mbpp/{number}")
    reference = Reference(
        test_code=_joined(before, shown),
        hidden_test_code=_joined(before, hidden) if hidden else None,
        entry_point=calls.entry_point,
        solution=solution,
    )
    text = _text(row, "text" if row.get("text") else "prompt")
    return _item(f"mbpp/{number}", _named(text, calls, solution), reference)


def _number(row: Row) -> int:
    try:
        return int(row["task_id"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unfit("'task_id' is no number") from error


def _mbpp_tests(row: Row) -> tuple[str, list[str]]:
    """Return the tests and what must stand before them."""
    if isinstance(row.get("tests"), str):
        return str(row["tests"]), []
    asserts = row.get("test_list")
    if not isinstance(asserts, list) or not all(isinstance(one, str) for one in asserts):
        raise Unfit("'test_list' is no list of asserts")
    setup = [*(row.get("test_imports") or []), row.get("test_setup_code") or ""]
    return _clean("\n".join(asserts)) or "", [line for one in setup if (line := _clean(one))]


def _calls(tests: str, solution: str | None) -> Calls:
    try:
        return calls_of(tests, solution)
    except (SyntaxError, ValueError) as error:
        raise Unfit(f"the tests cannot be used: {error}") from error


def _named(text: str, calls: Calls, solution: str | None) -> str:
    """Return a task that says what its tests call."""
    heads = heads_of(calls, solution)
    lines = [text, "", f"Write the Python function `{heads[calls.entry_point]}`."]
    if calls.helpers:
        also = ", ".join(f"`{heads[name]}`" for name in calls.helpers)
        lines.append(f"Define {also} as well: the tests use it.")
    return "\n".join(lines)


def _humaneval_item(row: Row, _view: View) -> Item:
    """Read a row of HumanEval: the head of a function with its docstring."""
    head, entry = _text(row, "prompt"), _text(row, "entry_point").strip()
    solution = head + str(row.get("canonical_solution") or "")
    tests = _text(row, "test")
    if "base_input" in row:
        tests = evalplus.tests_of(row, solution)
    reference = Reference(
        test_code=evalplus.without_numpy(tests),
        entry_point=entry,
        solution=solution if row.get("canonical_solution") else None,
    )
    task = f"Complete this Python function.\n\n{fenced(head, 'python')}"
    return _item(_task_id(row), task, reference)


def _mbpp_plus_item(row: Row, _view: View) -> Item:
    """Read a row of MBPP+, from the hub (``test``) or from the release of EvalPlus."""
    solution = _clean(row.get("code") or row.get("canonical_solution"))
    if solution is None:
        raise Unfit("has no reference solution")
    text = textwrap.dedent(_text(row, "prompt")).strip().strip('"').strip()
    if "base_input" in row:
        entry = _text(row, "entry_point")
        calls, tests = Calls(entry), evalplus.tests_of(row, solution)
    else:
        calls = _calls("\n".join(row.get("test_list") or []), solution)
        tests = evalplus.as_check(_text(row, "test"), calls.entry_point)
    task = _named(text, calls, solution)
    reference = Reference(
        test_code=evalplus.without_numpy(tests), entry_point=calls.entry_point, solution=solution
    )
    return _item(_task_id(row), task, reference)


def _task_id(row: Row) -> str:
    task = str(row.get("task_id") or "").strip()
    if not task:
        raise Unfit("'task_id' is missing")
    return task if "/" in task else f"Mbpp/{task}"


def _item(name: str, task: str, reference: Reference) -> Item:
    prompt = Prompt(name, (Message("user", task),), reference, "python")
    answer = None if reference.solution is None else fenced(reference.solution, "python")
    return Item(prompt, answer)


def _joined(before: list[str], asserts: list[str]) -> str:
    return "\n".join([*before, *asserts]) + "\n"


def _clean(value: Any) -> str | None:
    """Return code with plain line ends, or ``None`` for none; MBPP has DOS line ends in places."""
    if not isinstance(value, str) or not value.strip():
        return None
    return value.replace("\r\n", "\n").replace("\r", "\n").strip("\n")


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Unfit(f"{name!r} is missing or empty")
    return value


mbpp = PublicDataset(
    name="mbpp",
    summary="Mostly basic Python problems: functions for beginners",
    hub_id="google-research-datasets/mbpp",
    licence="CC-BY-4.0",
    fields=("task_id", "text", "code", "test_list", "test_setup_code"),
    tests="3 asserts a task, in Python; verifier mbpp",
    configs={
        "full": {
            "train": Files(("full/train-*.parquet",), 374),
            "test": Files(("full/test-*.parquet",), 500),
            "validation": Files(("full/validation-*.parquet",), 90),
            "prompt": Files(("full/prompt-*.parquet",), 10),
        },
        "sanitized": {
            "train": Files(("sanitized/train-*.parquet",), 120),
            "test": Files(("sanitized/test-*.parquet",), 257),
            "validation": Files(("sanitized/validation-*.parquet",), 43),
            "prompt": Files(("sanitized/prompt-*.parquet",), 7),
        },
    },
    convert=_mbpp_item,
    language="python",
    hidden=1 / 3,
    hides=True,
    releases={"full": ("mbpp.jsonl",), "sanitized": ("sanitized-mbpp.json",)},
)

humaneval = PublicDataset(
    name="humaneval",
    summary="HumanEval: Python functions to complete from head and docstring",
    hub_id="openai/openai_humaneval",
    licence="MIT",
    fields=("task_id", "prompt", "canonical_solution", "test", "entry_point"),
    tests="a function check(candidate), 7.7 asserts on average; verifier humaneval",
    configs={"openai_humaneval": {"test": Files(("openai_humaneval/test-*.parquet",), 164)}},
    convert=_humaneval_item,
    language="python",
    releases={"openai_humaneval": ("HumanEval.jsonl.gz", "HumanEval.jsonl")},
)

humaneval_plus = PublicDataset(
    name="humaneval_plus",
    summary="HumanEval+ of EvalPlus: HumanEval with 80 times the tests",
    hub_id="evalplus/humanevalplus",
    licence="Apache-2.0",
    fields=("task_id", "prompt", "canonical_solution", "test", "entry_point"),
    tests="a function check(candidate) over the base and plus inputs; verifier humaneval",
    configs={"default": {"test": Files(("data/test-*.parquet",), 164)}},
    convert=_humaneval_item,
    language="python",
    releases={"default": ("HumanEvalPlus.jsonl.gz", "HumanEvalPlus.jsonl", "test.jsonl")},
)

mbpp_plus = PublicDataset(
    name="mbpp_plus",
    summary="MBPP+ of EvalPlus: 378 tasks of MBPP with 35 times the tests",
    hub_id="evalplus/mbppplus",
    licence="Apache-2.0",
    fields=("task_id", "prompt", "code", "test_list", "test"),
    tests="a function check(candidate) over the base and plus inputs; verifier mbpp",
    configs={"default": {"test": Files(("data/test-*.parquet",), 378)}},
    convert=_mbpp_plus_item,
    language="python",
    releases={"default": ("MbppPlus.jsonl.gz", "MbppPlus.jsonl")},
)
