"""Rows of data sets that nobody has described to us: a hub id or a local file becomes items.

Understood without a word: ``messages`` (also ShareGPT's ``conversations``), and pairs under the
names below; ``--prompt-field`` and ``--response-field`` name any others. What a row says beside,
under the names of a prompts file (``tests``, ``entry_point``, ...), comes along.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from halo_forge.core.errors import ConfigError
from halo_forge.data.formats import parse_prompt
from halo_forge.data.items import Item, PublicDataset, Row, Unfit, View
from halo_forge.utils.text import did_you_mean

__all__ = ["undescribed"]

_PAIRS = (
    ("prompt", ("completion", "response", "answer", "output", "reference")),
    ("instruction", ("output", "response", "completion", "answer")),
    ("query", ("response", "answer")),
    ("question", ("answer", "response", "solution")),
    ("problem", ("solution", "answer")),
    ("input", ("output",)),
)
"""Names of a question, and the names its answer has beside it."""
_CHATS = ("messages", "conversations")
_ROLES = MappingProxyType({
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "model": "assistant", "system": "system",
})  # fmt: skip
_BESIDE = ("language", "hidden_tests", "entry_point", "expected_output", "category", "difficulty")
_Dict = dict[str, Any]


def undescribed(
    name: str, hub_id: str, prompt_field: str | None, response_field: str | None
) -> PublicDataset:
    """Return a data set of which only the place is known.

    Args:
        name: What it is called in messages.
        hub_id: Repository on the hub; ``""`` for local files.
        prompt_field: Column of the task, when it has no name that is understood.
        response_field: Column of the answer; without one there is none.
    """
    return PublicDataset(
        name=name,
        summary="",
        hub_id=hub_id,
        licence="unknown",
        fields=tuple(one for one in (prompt_field, response_field) if one),
        tests="whatever the rows bring",
        configs={},
        convert=partial(_item, prompt_field=prompt_field, response_field=response_field),
    )


def _item(
    row: Row, _view: View, prompt_field: str | None = None, response_field: str | None = None
) -> Item:
    fields, answer = _task(row, prompt_field, response_field)
    fields |= {key: row[key] for key in _BESIDE if row.get(key) is not None}
    # In a data set of its own, "input" and "tests" may be anything: only what a prompts file
    # would hold is taken.
    if isinstance(row.get("tests"), str | list):
        fields["tests"] = row["tests"]
    for key in ("id", "task_id"):
        if isinstance(row.get(key), str | int):
            fields.setdefault("id", row[key])
    if isinstance(row.get("system"), str) and row["system"].strip() and "messages" not in fields:
        fields["system"] = row["system"]
    try:
        return Item(parse_prompt(fields), answer)
    except ConfigError as error:
        raise Unfit(error.problems[0]) from error


def _task(row: Row, prompt_field: str | None, response_field: str | None) -> tuple[_Dict, Any]:
    """Return the task, as a prompts file would put it, and the answer if there is one."""
    if prompt_field is not None:
        answer = _field(row, response_field) if response_field is not None else None
        return {"prompt": _field(row, prompt_field)}, answer
    for name in _CHATS:
        if isinstance(row.get(name), list):
            return _chat(row[name])
    for name, answers in _PAIRS:
        if isinstance(row.get(name), str):
            found = response_field or next((one for one in answers if row.get(one)), None)
            return {"prompt": _with_input(row, name)}, None if found is None else _field(row, found)
    raise Unfit(f"has none of the columns understood, but {', '.join(map(repr, row))}")


def _with_input(row: Row, name: str) -> str:
    """Join an instruction and its input, as Alpaca has them."""
    extra = row.get("input") if name == "instruction" else None
    text = str(row[name])
    return f"{text}\n\n{extra}" if isinstance(extra, str) and extra.strip() else text


def _field(row: Row, name: str) -> str:
    if name not in row:
        raise Unfit(f"has no column {name!r}.{did_you_mean(name, row)}")
    if not isinstance(row[name], str) or not row[name].strip():
        raise Unfit(f"{name!r} is empty, or no text")
    return str(row[name])


def _chat(turns: list[Any]) -> tuple[_Dict, str | None]:
    messages = [_turn(turn) for turn in turns]
    answer = None
    if messages and messages[-1]["role"] == "assistant":
        answer = messages.pop()["content"]
    return {"messages": messages}, answer


def _turn(turn: Any) -> _Dict:
    if not isinstance(turn, Mapping):
        raise Unfit("a message is no object")
    role = _ROLES.get(str(turn.get("role", turn.get("from", ""))))
    content = turn.get("content", turn.get("value"))
    if role is None or not isinstance(content, str) or not content.strip():
        raise Unfit("a message has no role that is understood, or no text")
    return {"role": role, "content": content}
