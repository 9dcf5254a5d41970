r"""The door for prompts: one line of a prompts file in, a `Prompt` or every reason why not out.

::

    {"prompt": "Print the sum of 1..n.", "language": "cpp",
     "tests": [{"input": "3\n", "expected": "6\n"}]}

Keys: ``prompt`` or ``messages``, and as wanted ``id``, ``system``, ``language``, ``tests`` (a list
of cases for a program, or source code that tests functions), ``hidden_tests`` (either, scored and
never rewarded), ``entry_point``,
``expected_output``, ``reference`` (a solution), ``image`` (one or a list: files as seen from the
prompts file, or ``data:`` and web addresses), ``ground_truth`` (the answer to a question),
``alternatives`` (others as right), ``category``, ``difficulty``, ``metadata`` (anything; for
people, not read). ``null`` means absent.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from halo_forge.core.errors import ConfigError
from halo_forge.core.identity import content_id
from halo_forge.core.types import Message, Prompt, Reference, TestCase
from halo_forge.utils.text import LANGUAGES, did_you_mean, json_kind, language_name

__all__ = ["parse_prompt", "prompt_record"]

_NOT_HERE = {
    "completion": "'completion' belongs to training files; a known solution goes to 'reference'",
}
_SYNONYMS = {
    "answer": "expected_output",
    "answers": "alternatives",
    "canonical_solution": "reference",
    "images": "image",
    "instruction": "prompt",
    "output": "expected_output",
    "query": "prompt",
    "question": "prompt",
    "solution": "reference",
    "text": "prompt",
}
_MESSAGE_SYNONYMS = {"from": "role", "text": "content", "value": "content"}
_CASE_SYNONYMS = {"output": "expected", "stdin": "input", "stdout": "expected"}
_CODE, _CASES = "source code", "list of cases"


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "must not be empty")
    return text


def _identifier(value: object) -> object:
    # Data sets number their rows; 7 and "7" are the same name.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and (not value.isprintable() or value != value.strip()):
        raise PydanticCustomError("id", "must be printable, without blanks around it")
    return value


def _known_language(text: str) -> str:
    name = language_name(text)
    if name is None:
        hint = did_you_mean(text.lower(), LANGUAGES)
        raise PydanticCustomError(
            "language",
            "is the unknown language {text}.{hint} Known: {known}",
            {"text": repr(text), "hint": hint, "known": ", ".join(sorted(set(LANGUAGES.values())))},
        )
    return name


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _tests_kind(value: object) -> str | None:
    if isinstance(value, str):
        return _CODE
    return _CASES if isinstance(value, list) else None


_Text = Annotated[str, AfterValidator(_not_blank)]


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class _CaseLine(_Line):
    input: str
    expected: str
    name: _Text | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None

    def case(self) -> TestCase:
        return TestCase(self.input, self.expected, self.name, self.timeout)


_Tests = Annotated[
    Annotated[list[_CaseLine], Tag(_CASES)] | Annotated[_Text, Tag(_CODE)],
    Discriminator(
        _tests_kind,
        custom_error_type="tests",
        custom_error_message="must be a list of cases, or test code as one string",
    ),
]


_Images = Annotated[tuple[_Text, ...], BeforeValidator(_listed), Field(strict=False)]


class _MessageLine(_Line):
    role: Literal["system", "user", "assistant"]
    content: _Text


class _PromptLine(_Line):
    id: Annotated[_Text, BeforeValidator(_identifier)] | None = None
    prompt: _Text | None = None
    messages: Annotated[list[_MessageLine], Field(min_length=1)] | None = None
    system: _Text | None = None
    language: Annotated[str, AfterValidator(_known_language)] | None = None
    tests: _Tests = Field(default_factory=list)
    hidden_tests: _Tests = Field(default_factory=list)
    entry_point: _Text | None = None
    expected_output: str | None = None
    reference: _Text | None = None
    image: _Images = ()
    ground_truth: _Text | None = None
    alternatives: list[_Text] = Field(default_factory=list)
    category: _Text | None = None
    difficulty: Annotated[int, Field(ge=1, le=5)] | None = None
    metadata: Any = None

    @model_validator(mode="after")
    def _one_chat(self) -> Self:
        if self.prompt is not None and self.messages is not None:
            raise PydanticCustomError("chat", "has both 'prompt' and 'messages'; keep one")
        if self.prompt is None and not self.messages:
            raise PydanticCustomError("chat", "has neither 'prompt' nor 'messages'")
        roles = [message.role for message in self.chat()]
        if roles[-1] != "user":
            raise PydanticCustomError("chat", "'messages' must end with a user message")
        if "system" in roles[1:]:
            raise PydanticCustomError("chat", "may have one system message, the first")
        if self.alternatives and self.ground_truth is None:
            raise PydanticCustomError("chat", "has 'alternatives' to no 'ground_truth'")
        return self

    def chat(self) -> tuple[Message, ...]:
        turns = [Message(turn.role, turn.content) for turn in self.messages or ()]
        if self.prompt is not None:
            turns = [Message("user", self.prompt)]
        if self.system is not None:
            turns = [Message("system", self.system), *turns]
        return tuple(turns)


def parse_prompt(record: Mapping[str, Any]) -> Prompt:
    """Turn one object of a prompts file into a `Prompt`.

    Args:
        record: The object as it came out of JSON.

    Returns:
        The prompt, its images as they are named. Its id is the given one, else the content id of
        its messages, tests and images' names.

    Raises:
        ConfigError: With every problem of the object; the caller knows file and line.
    """
    known = _PromptLine.model_fields
    given = {key: value for key, value in record.items() if value is not None or key not in known}
    try:
        line = _PromptLine.model_validate(given)
    except ValidationError as error:
        raise ConfigError([_reason(detail) for detail in error.errors()]) from None
    messages = line.chat()
    cases, code = _tests(line.tests)
    hidden_cases, hidden_code = _tests(line.hidden_tests)
    reference = Reference(
        tests=cases,
        hidden_tests=hidden_cases,
        test_code=code,
        hidden_test_code=hidden_code,
        entry_point=line.entry_point,
        expected_output=line.expected_output,
        solution=line.reference,
        ground_truth=line.ground_truth,
        alternatives=tuple(line.alternatives),
    )
    return Prompt(
        id=line.id or _content_name(messages, reference, line.image),
        messages=messages,
        reference=reference,
        language=line.language,
        category=line.category,
        difficulty=line.difficulty,
        images=line.image,
    )


def _tests(value: str | Sequence[_CaseLine]) -> tuple[tuple[TestCase, ...], str | None]:
    """Return tests as cases or as code, whichever they are."""
    if isinstance(value, str):
        return (), value
    return tuple(case.case() for case in value), None


def prompt_record(prompt: Prompt) -> dict[str, Any]:
    """Return the object that `parse_prompt` turns back into ``prompt``.

    Raises:
        ValueError: If the prompt has both cases and test code, which one line cannot hold.
    """
    reference = prompt.reference
    pairs = (
        (reference.tests, reference.test_code),
        (reference.hidden_tests, reference.hidden_test_code),
    )
    if any(cases and code is not None for cases, code in pairs):
        raise ValueError(f"prompt {prompt.id}: a line holds test cases or test code, not both")
    record = {
        "id": prompt.id,
        **_chat_record(prompt.messages),
        "language": prompt.language,
        "category": prompt.category,
        "difficulty": prompt.difficulty,
        "tests": reference.test_code or _case_records(reference.tests),
        "hidden_tests": reference.hidden_test_code or _case_records(reference.hidden_tests),
        "entry_point": reference.entry_point,
        "expected_output": reference.expected_output,
        "reference": reference.solution,
        "image": (prompt.images[0] if len(prompt.images) == 1 else list(prompt.images)) or None,
        "ground_truth": reference.ground_truth,
        "alternatives": list(reference.alternatives) or None,
    }
    return {key: value for key, value in record.items() if value is not None}


def _content_name(
    messages: Sequence[Message], reference: Reference, images: tuple[str, ...]
) -> str:
    turns = [[message.role, message.content] for message in messages]
    tests = [_case_records(reference.tests), reference.test_code]
    shown = {"images": images, "truth": reference.ground_truth}
    seen = {key: value for key, value in shown.items() if value}
    return content_id({"messages": turns, "tests": tests, **seen})


def _chat_record(messages: Sequence[Message]) -> dict[str, Any]:
    roles = [message.role for message in messages]
    if roles == ["user"]:
        return {"prompt": messages[0].content}
    if roles == ["system", "user"]:
        return {"system": messages[0].content, "prompt": messages[1].content}
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in messages]}


def _case_records(cases: Sequence[TestCase]) -> list[dict[str, Any]] | None:
    records = [
        {"input": case.input, "expected": case.expected, "name": case.name, "timeout": case.timeout}
        for case in cases
    ]
    present = [
        {key: value for key, value in record.items() if value is not None} for record in records
    ]
    return present or None


def _reason(detail: ErrorDetails) -> str:
    """Say in one clause what is wrong with a line, in the words of the file."""
    where, got = repr(_place(detail["loc"])), _shown(detail["input"])
    match detail["type"]:
        case "extra_forbidden":
            reason = _unknown_key(detail["loc"])
        case "missing":
            reason = f"{where} is missing"
        case "chat":
            reason = detail["msg"]
        case "blank" | "id" | "language" | "tests":
            reason = f"{where} {detail['msg']}"
        case "too_short":
            reason = f"{where} must not be empty"
        case "model_type":
            reason = f"{where} should be an object, is {got}"
        case _:
            wanted = detail["msg"].removeprefix("Input ").replace("a valid string", "a string")
            reason = f"{where} {wanted}, is {got}"
    return reason


def _place(loc: Sequence[str | int]) -> str:
    """Return the path as a reader of JSON writes it: ``tests[2].expected``, counted from 0."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in {_CODE, _CASES}:
            path += f".{part}" if path else part
    return path


def _shown(value: object) -> str:
    kind = json_kind(value)
    return f"{kind} ({reprlib.repr(value)})" if isinstance(value, str | int | float) else kind


def _unknown_key(loc: Sequence[str | int]) -> str:
    key = str(loc[-1])
    if len(loc) == 1:
        if key in _NOT_HERE:
            return _NOT_HERE[key]
        known, synonyms = [*_PromptLine.model_fields], _SYNONYMS
    elif loc[0] == "messages":
        known, synonyms = [*_MessageLine.model_fields], _MESSAGE_SYNONYMS
    else:
        known, synonyms = [*_CaseLine.model_fields], _CASE_SYNONYMS
    hint = (
        f" Did you mean {synonyms[key]!r}?" if key in synonyms else did_you_mean(key, known)
    ) or f" Known: {', '.join(known)}."
    return f"unknown key {_place(loc)!r}.{hint}"
