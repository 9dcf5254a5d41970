"""Training files at the door: what is understood, and what is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from halo_forge.core.errors import ConfigError, UserError
from halo_forge.data.conversations import load_training, parse_training, training_digest


def turns(record: dict[str, Any]) -> list[tuple[str, str]]:
    """The roles and words of a record."""
    messages, text = parse_training(record)
    assert text is None
    return [(message.role, message.content) for message in messages]


ASKED = [("user", "q"), ("assistant", "a")]
UNDERSTOOD = [
    {"prompt": "q", "completion": "a"},
    {"instruction": "q", "output": "a"},
    {"instruction": "q", "input": "", "output": "a"},
    {"query": "q", "response": "a"},
    {"question": "q", "answer": "a"},
    {"prompt": "q", "completion": "a", "metadata": {"x": 1}, "id": 7, "text": "rendered"},
    {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    {
        "prompt": [{"role": "user", "content": "q"}],
        "completion": [{"role": "assistant", "content": "a"}],
    },
]


@pytest.mark.parametrize("record", UNDERSTOOD)
def test_every_spelling_is_the_same_chat(record: dict[str, Any]) -> None:
    """The formats of the contract, and those that data sets use."""
    assert turns(record) == ASKED
    assert turns({**record, "system": "be brief"}) == [("system", "be brief"), *ASKED]


def test_instruction_with_input() -> None:
    """The input follows the instruction."""
    record = {"instruction": "Add.", "input": "1 2", "output": "3"}
    assert turns(record)[0] == ("user", "Add.\n\n1 2")


def test_solutions_of_prompts_are_fenced() -> None:
    """A prompts file with solutions is a training file."""
    record = {"prompt": "q", "reference": "int x;\n", "language": "c++", "tests": []}
    assert turns(record)[1] == ("assistant", "```cpp\nint x;\n```")


REFUSED = [
    ({}, "holds no 'messages'"),
    ({"prompt": "q"}, "'prompt' alone is not enough"),
    ({"text": "task", "code": "x = 1"}, "'text' beside 'code'"),
    ({"text": " "}, "'text' is empty"),
    ({"prompt": "q", "completion": ""}, "'completion' is empty"),
    ({"prompt": "q", "completion": 3}, "'completion' must be a string, is a number"),
    ({"messages": []}, "must be a list of messages"),
    ({"messages": [{"role": "user", "content": "q"}]}, "must end with an assistant's message"),
    ({"messages": [{"role": "tool", "content": "q"}]}, "has the role 'tool'"),
    ({"messages": [{"role": ["user"], "content": "q"}]}, r"has the role \['user'\]"),
    ({"messages": [{"role": {"a": 1}, "content": "q"}]}, "has the role {'a': 1}"),
    (
        {"conversations": [{"from": r, "value": "x"} for r in ("gpt", "human", "gpt")]},
        "must begin with a user's message",
    ),
    (
        {"messages": [{"role": r, "content": "x"} for r in ("system", "assistant")]},
        "must begin with a user's message",
    ),
    ({"messages": ["q"]}, r"'messages\[0\]' must be an object"),
    ({"prompt": "q", "completion": "a", "system": 1}, "'system' must be a string"),
    (
        {"messages": [{"role": r, "content": "x"} for r in ("user", "system", "assistant")]},
        "one system message, the first",
    ),
]


@pytest.mark.parametrize(("record", "reason"), REFUSED)
def test_what_cannot_be_learned_from(record: dict[str, Any], reason: str) -> None:
    """The reason is said in the words of the file."""
    with pytest.raises(ConfigError, match=reason):
        parse_training(record)


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    """Nothing is read when a line is bad, and each has its number."""
    file = tmp_path / "train.jsonl"
    good = json.dumps({"prompt": "q", "completion": "a"})
    file.write_text(f'{good}\n{{"prompt": "q"}}\n\n[1]\n{good}\n{{"text"\n')
    with pytest.raises(ConfigError) as caught:
        load_training(file)
    lines = [problem.split(":")[1] for problem in caught.value.problems]
    assert lines == ["2", "4", "6"]


def test_limit_and_system(tmp_path: Path) -> None:
    """Only the first records are read; a system message goes where there is none."""
    file = tmp_path / "train.jsonl"
    rows = [{"prompt": f"q{n}", "completion": "a"} for n in range(5)]
    rows[1]["system"] = "mine"
    file.write_text("\n".join(map(json.dumps, rows)))
    records = load_training(file, system="theirs", limit=2)
    assert [record.messages[0].content for record in records] == ["theirs", "mine"]
    assert [record.line for record in records] == [1, 2]
    assert training_digest(records) != training_digest(records[:1])


def test_missing_and_empty_files(tmp_path: Path) -> None:
    """The nearest name is said, and what a record looks like."""
    (tmp_path / "train.jsonl").write_text("\n")
    with pytest.raises(UserError, match=r"Did you mean 'train\.jsonl'"):
        load_training(tmp_path / "trian.jsonl")
    with pytest.raises(UserError, match="holds no training records"):
        load_training(tmp_path / "train.jsonl")


def test_built_in_solutions() -> None:
    """Built-in tasks can be learned from: question, and solution as a model would put it."""
    records = load_training("builtin:cpp/train")
    assert all(record.messages[-1].content.startswith("```cpp\n") for record in records)
    assert all(record.asked for record in records)
