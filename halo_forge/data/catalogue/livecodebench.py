"""LiveCodeBench: contest problems by date, to be solved in Python (Jain et al. 2024).

Source: arXiv:2403.07974, repository livecodebench/code_generation_lite, whose loading script is not
run: a release is the list of its files.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import orjson

from halo_forge.core.types import Message, Prompt, Reference, TestCase
from halo_forge.data.items import Files, Item, PublicDataset, Row, Unfit, View, set_aside
from halo_forge.data.sealed_tests import SealedTestsError, open_sealed
from halo_forge.data.wording import ask_for_program
from halo_forge.utils.jsonl import parse_exactly
from halo_forge.utils.text import fenced

__all__ = ["livecodebench"]

_DIFFICULTIES = {"easy": 2, "medium": 3, "hard": 5}
_ROWS = (400, 511, 612, 713, 880, 1055)
"""Problems of release_v1 to release_v6: the table of the repository's card."""
_FILES = ("test.jsonl", *(f"test{number}.jsonl" for number in range(2, len(_ROWS) + 1)))


def _item(row: Row, view: View) -> Item:
    """Read a problem: a program on standard input, or a method of a class ``Solution``."""
    name = f"livecodebench/{str(row.get('question_id') or '').strip()}"
    statement = str(row.get("question_content") or "").strip()
    if name == "livecodebench/" or not statement:
        raise Unfit("'question_id' or 'question_content' is missing")
    both = [*_tests(row, "public_test_cases"), *_tests(row, "private_test_cases")]
    tests = list({(test["input"], test["output"]): test for test in both}.values())
    if not tests:
        raise Unfit("has no tests")
    kinds = {str(test.get("testtype")) for test in tests}
    if len(kinds) != 1:
        raise Unfit("has tests of two kinds")
    shown, hidden = set_aside(tests, view.hidden, view.seed, name)
    if kinds == {"functional"}:
        method = _method(row)
        reference = Reference(
            test_code=_asserts(shown, method),
            hidden_test_code=_asserts(hidden, method) if hidden else None,
            entry_point="Solution",
        )
        starter = str(row.get("starter_code") or "").strip()
        # Its own grader puts a page of imports before each answer; ours judges what was said.
        task = (
            f"{statement}\n\nComplete this Python class. Import what you use, `typing` too."
            f"\n\n{fenced(starter, 'python')}"
        )
    elif kinds == {"stdin"}:
        reference = Reference(tests=_cases(shown), hidden_tests=_cases(hidden))
        task = ask_for_program(statement, "python")
    else:
        raise Unfit(f"has tests of an unknown kind: {min(kinds)}")
    return Item(
        Prompt(
            id=name,
            messages=(Message("user", task),),
            reference=reference,
            language="python",
            category=str(row.get("platform") or "") or None,
            difficulty=_DIFFICULTIES.get(str(row.get("difficulty") or "").lower()),
        ),
        date=_day(row),
    )


def _day(row: Row) -> str | None:
    """Return the day of the contest, which is written as a date or a moment."""
    try:
        return datetime.fromisoformat(str(row.get("contest_date") or "")).date().isoformat()
    except ValueError:
        return None


def _tests(row: Row, column: str) -> list[dict[str, Any]]:
    text = row.get(column)
    if not isinstance(text, str) or not text.strip():
        return []
    if not text.lstrip().startswith("["):
        try:
            text = open_sealed(text)
        except SealedTestsError as error:
            raise Unfit(f"{column!r} cannot be opened: {error}") from error
    try:
        tests = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unfit(f"{column!r} is no JSON: {error}") from error
    if not isinstance(tests, list) or not all(_is_test(test) for test in tests):
        raise Unfit(f"{column!r} is no list of tests")
    return tests


def _is_test(test: Any) -> bool:
    return isinstance(test, dict) and all(isinstance(test.get(k), str) for k in ("input", "output"))


def _cases(tests: list[dict[str, Any]]) -> tuple[TestCase, ...]:
    return tuple(TestCase(test["input"], test["output"]) for test in tests)


def _method(row: Row) -> str:
    try:
        name = orjson.loads(str(row.get("metadata") or ""))["func_name"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise Unfit("'metadata' names no function") from error
    if not isinstance(name, str) or not name.isidentifier():
        raise Unfit("'metadata' names no function")
    return name


def _asserts(tests: list[dict[str, Any]], method: str) -> str:
    """Return asserts: each line of an input is an argument in JSON, and so is the output."""
    lines = []
    for test in tests:
        try:
            lines_in = [line for line in test["input"].split("\n") if line.strip()]
            arguments = [parse_exactly(line) for line in lines_in]
            wanted = parse_exactly(test["output"])
        except json.JSONDecodeError as error:
            raise Unfit(f"a test is no JSON: {error}") from error
        call = f"Solution().{method}({', '.join(map(repr, arguments))})"
        lines.append(f"assert {call} == {wanted!r}")
    return "\n".join(lines) + "\n"


livecodebench = PublicDataset(
    name="livecodebench",
    summary="LiveCodeBench: contest problems by date; no answers",
    hub_id="livecodebench/code_generation_lite",
    licence="CC (the repository says no more)",
    fields=("question_id", "question_content", "platform", "difficulty", "starter_code",
            "contest_date", "public_test_cases", "private_test_cases", "metadata"),
    tests="programs: input and output; methods: asserts; verifier tests",
    configs={
        f"release_v{number}": {"test": Files(_FILES[:number], _ROWS[number - 1])}
        for number in range(len(_ROWS), 0, -1)
    },
    convert=_item,
    language="python",
    answers=False,
    hides=True,
)  # fmt: skip
