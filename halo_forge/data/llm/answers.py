"""From what a model said to an item, or to the reason why it is none. Pure.

Tolerant of what surrounds the JSON (Markdown fences, a sentence before it, a thinking block) and of
raw line ends in its strings; of nothing else within it. A truncated object is not mended: what is
missing would have to be invented.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from halo_forge.config.generate import TopicConfig
from halo_forge.core.types import FinishReason, TestCase
from halo_forge.utils.text import json_kind

__all__ = ["Item", "RejectedError", "parse_item"]

_LONGEST = 256 << 10
"""Characters of an answer that is looked at."""

_STATEMENT, _SOURCE, _TEXT, _NAME = 16 << 10, 64 << 10, 16 << 10, 100
_MOST_TESTS = 100
_THOUGHT = "</think>"
_FENCE = re.compile(r"(`{3,}|~{3,})[\w+#-]*")


class RejectedError(Exception):
    """Why an answer gives no training data.

    Args:
        reason: A short name, the same for all of its kind.
        detail: What is wrong with this one.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Item:
    """A task with its solution and its tests, as the model gave them; nothing is verified.

    Attributes:
        statement: The task.
        solution: Source code that is said to solve it.
        cases: Tests of a program.
        test_code: Tests of a function.
        entry_point: Function or class that ``test_code`` calls.
    """

    statement: str
    solution: str
    cases: tuple[TestCase, ...] = ()
    test_code: str | None = None
    entry_point: str | None = None


def parse_item(text: str, finish_reason: FinishReason, topic: TopicConfig) -> Item:
    """Read the item in a model's answer.

    Raises:
        RejectedError: If there is none, for the reason ``empty``, ``cut``, ``not-json`` or
            ``incomplete``.
    """
    value = _object(text, finish_reason)
    try:
        if topic.tests == "code":
            code = _CodeItem.model_validate(value)
            return Item(code.statement, code.solution, (), code.tests, code.entry_point)
        cases = _CasesItem.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the answer"
        raise RejectedError("incomplete", f"{place}: {first['msg']}") from None
    tests = tuple(TestCase(_with_line_end(case.input), case.expected) for case in cases.tests)
    if len(tests) < topic.min_tests:
        raise RejectedError(
            "incomplete", f"tests: {len(tests)} of at least {topic.min_tests} test cases"
        )
    return Item(cases.statement, cases.solution, tests)


def _object(text: str, finish_reason: FinishReason) -> dict[str, Any]:
    """Return the one JSON object in an answer."""
    if len(text) > _LONGEST:
        raise RejectedError("not-json", f"longer than {_LONGEST >> 10} Ki characters")
    said = text.rpartition(_THOUGHT)[2].strip()
    if not said:
        if finish_reason == "length":
            raise RejectedError("cut", "the model used up its tokens before it answered")
        raise RejectedError("empty", "the model said nothing")
    found: object = None
    for candidate in _candidates(said):
        found = _loaded(candidate)
        if isinstance(found, list) and len(found) == 1:
            (found,) = found
        if isinstance(found, dict):
            return found
    if finish_reason == "length":
        raise RejectedError("cut", "the answer reached generation.max_new_tokens and was cut")
    kind = "no JSON" if found is None else json_kind(found)
    raise RejectedError("not-json", f"a JSON object is wanted, this is {kind}")


def _candidates(said: str) -> Iterator[str]:
    yield said
    lines = said.split("\n")
    fences = [at for at, line in enumerate(lines) if _FENCE.fullmatch(line.strip())]
    if len(fences) > 1:
        yield "\n".join(lines[fences[0] + 1 : fences[-1]])
    first, last = said.find("{"), said.rfind("}")
    if 0 <= first < last:
        yield said[first : last + 1]


def _loaded(text: str) -> object:
    """Return the value of JSON text, raw control characters in strings allowed; None if none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _clean(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "must not be empty")
    return _storable(text)


def _storable(text: str) -> str:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise PydanticCustomError("characters", "holds characters that no text file can hold")
    return text


def _unfenced(text: str) -> str:
    """Take source code out of the Markdown block around it, if there is just that."""
    lines = text.strip().split("\n")
    opening = _FENCE.fullmatch(lines[0].strip())
    if opening and len(lines) > 2 and lines[-1].strip() == opening[1]:
        return "\n".join(lines[1:-1]) + "\n"
    return text.strip("\n") + "\n"


def _identifier(text: str) -> str:
    name = text.strip().removesuffix("()")
    if not (name.isascii() and name.isidentifier()):
        raise PydanticCustomError("name", "is no name of a function or class")
    return name


def _with_line_end(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


class _Answer(BaseModel):
    # Further keys do no harm: a hint, an explanation.
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


_Statement = Annotated[str, Field(max_length=_STATEMENT), AfterValidator(_clean)]
_Source = Annotated[
    str, Field(max_length=_SOURCE), AfterValidator(_clean), AfterValidator(_unfenced),
    AfterValidator(_clean),
]  # fmt: skip
_Said = Annotated[str, Field(max_length=_TEXT), AfterValidator(_storable)]


class _Case(_Answer):
    input: _Said
    expected: _Said


class _CasesItem(_Answer):
    statement: _Statement
    solution: _Source
    tests: Annotated[list[_Case], Field(max_length=_MOST_TESTS)]


class _CodeItem(_Answer):
    statement: _Statement
    entry_point: Annotated[str, Field(max_length=_NAME), AfterValidator(_identifier)]
    solution: _Source
    tests: _Source
