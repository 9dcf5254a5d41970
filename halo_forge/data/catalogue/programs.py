"""Codeforces: programs on standard input and output, with reasoning by DeepSeek-R1.

Sources: open-r1/codeforces-cots (problems with up to five answers each, not filtered for
correctness) and open-r1/codeforces (problems with the judge's own tests, no answers).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from halo_forge.core.types import Message, Prompt, Reference, TestCase
from halo_forge.data.items import Files, Item, PublicDataset, Row, Unfit, View, set_aside
from halo_forge.data.wording import ask_for_program

__all__ = ["codeforces_cpp", "codeforces_python", "codeforces_rust"]

_RATINGS = (1200, 1600, 2000, 2400)
"""Ratings from which a problem counts as one step harder."""
_STATEMENT = (
    ("", "description"),
    ("Input", "input_format"),
    ("Output", "output_format"),
    ("Note", "note"),
)
_TESTS = ("examples", "public_tests", "private_tests", "official_tests", "generated_tests")


def _item(row: Row, view: View, language: str, *, answers: bool) -> Item:
    """Read a problem of either repository."""
    if not str(row.get("description") or "").strip():
        raise Unfit("has no statement")
    _refuse_other_judges(row)
    name = f"codeforces/{str(row.get('id') or '').strip()}"
    if name == "codeforces/":
        raise Unfit("'id' is missing")
    cases = list(dict.fromkeys(_cases(row)))
    if not cases:
        raise Unfit("has no tests")
    shown, hidden = set_aside(cases, view.hidden, view.seed, name)
    prompt = Prompt(
        id=name,
        messages=(Message("user", ask_for_program(_statement(row), language)),),
        reference=Reference(tests=tuple(shown), hidden_tests=tuple(hidden)),
        language=language,
        difficulty=_difficulty(row.get("rating")),
    )
    return Item(prompt, _answer(row) if answers else None)


def _refuse_other_judges(row: Row) -> None:
    """Refuse what equal output cannot judge."""
    if row.get("interaction_format"):
        raise Unfit("is interactive")
    if row.get("problem_type") not in (None, "", "diff") or row.get("generated_checker"):
        raise Unfit("has more than one right output")
    if row.get("input_mode") not in (None, "", "stdio"):
        raise Unfit("reads files, not standard input")
    if row.get("official_tests_complete") is False:
        raise Unfit("lacks some of the judge's tests")
    if row.get("executable") is False:
        raise Unfit("cannot be judged by running it")


def _statement(row: Row) -> str:
    parts = []
    for title, column in _STATEMENT:
        text = str(row.get(column) or "").strip()
        if text:
            parts.append(f"{title}: {text}" if title else text)
    for given, wanted in _pairs(row, "examples"):
        parts.append(f"Example input:\n{given.strip()}\nExample output:\n{wanted.strip()}")
    limits = _limits(row)
    return "\n\n".join([*parts, limits] if limits else parts)


def _limits(row: Row) -> str:
    seconds, megabytes = row.get("time_limit"), row.get("memory_limit")
    parts = [f"{seconds:g} s"] if isinstance(seconds, int | float) else []
    parts += [f"{megabytes:g} MB"] if isinstance(megabytes, int | float) else []
    return f"Limits: {', '.join(parts)}." if parts else ""


def _cases(row: Row) -> Iterator[TestCase]:
    """Yield the tests of all columns."""
    seconds = row.get("time_limit")
    timeout = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None
    for column in _TESTS:
        for given, wanted in _pairs(row, column):
            yield TestCase(given, wanted, timeout=timeout)


def _pairs(row: Row, column: str) -> Iterator[tuple[str, str]]:
    """Yield inputs and outputs: of a list of cases, or of an object of two lists."""
    tests: Any = row.get(column)
    if isinstance(tests, dict):
        inputs, outputs = tests.get("input") or [], tests.get("output") or []
        tests = [{"input": a, "output": b} for a, b in zip(inputs, outputs, strict=False)]
    for case in tests if isinstance(tests, list) else []:
        if isinstance(case.get("input"), str) and isinstance(case.get("output"), str):
            yield case["input"], case["output"]


def _difficulty(rating: Any) -> int | None:
    if not isinstance(rating, int | float):
        return None
    return 1 + sum(rating >= step for step in _RATINGS)


def _answer(row: Row) -> str:
    """Return the answer whole; one that was cut off is none."""
    if row.get("finish_reason") not in (None, "", "stop"):
        raise Unfit("the answer was cut off")
    text = row.get("generation")
    if not isinstance(text, str) or not text.strip():
        turns = row.get("messages") or []
        text = turns[-1].get("content") if turns and turns[-1].get("role") == "assistant" else ""
    if not isinstance(text, str) or "```" not in text:
        raise Unfit("the answer holds no program")
    return text


def _cots(language: str, config: str, title: str) -> PublicDataset:
    plain = config.removesuffix("_decontaminated")
    return PublicDataset(
        name=f"codeforces_{language}",
        summary=f"Codeforces problems with {title} answers reasoned by DeepSeek-R1",
        hub_id="open-r1/codeforces-cots",
        licence="CC-BY-4.0",
        fields=("id", "description", "input_format", "output_format", "note", "examples",
                "public_tests", "private_tests", "generated_tests", "generation",
                "finish_reason"),
        tests="input and output of the problem's examples and tests; verifier execution",
        configs={
            config: {"train": Files((f"{config}/train-*.parquet",))},
            plain: {"train": Files((f"{plain}/train-*.parquet",))},
        },
        convert=partial(_item, language=language, answers=True),
        language=language,
        hidden=0.5,
        hides=True,
    )  # fmt: skip


codeforces_cpp = _cots("cpp", "solutions_decontaminated", "C++")
codeforces_python = _cots("python", "solutions_py_decontaminated", "Python")

codeforces_rust = PublicDataset(
    name="codeforces_rust",
    summary="Codeforces problems with the judge's tests, asked for in Rust; no answers",
    hub_id="open-r1/codeforces",
    licence="CC-BY-4.0",
    fields=("id", "description", "input_format", "output_format", "note", "examples",
            "official_tests", "official_tests_complete", "input_mode", "generated_checker",
            "rating", "time_limit"),
    tests="input and output of the judge's own tests; verifier execution",
    configs={
        "default": {
            "train": Files(("data/train-*.parquet",), 9556),
            "test": Files(("data/test-*.parquet",), 468),
        },
        "verifiable": {
            "train": Files(("verifiable/train-*.parquet",)),
            "test": Files(("verifiable/test-*.parquet",)),
        },
    },
    convert=partial(_item, language="rust", answers=False),
    language="rust",
    answers=False,
    hidden=0.5,
    hides=True,
)  # fmt: skip
