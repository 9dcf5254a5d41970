"""From an item to a line: of a training file, as messages or text, or of a prompts file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

from halo_forge.core.errors import ConfigError
from halo_forge.core.types import Message
from halo_forge.data.formats import parse_prompt, prompt_record
from halo_forge.data.items import Item, Unfit

__all__ = ["Renderer", "Thinking", "prompt_line", "training_record"]

Renderer = Callable[[Sequence[Message]], str]
"""Turns a whole chat into the text that a model is trained on."""
Thinking = Literal["keep", "strip"]
_OPEN, _CLOSE = "<think>", "</think>"


def training_record(
    item: Item,
    *,
    system: str | None = None,
    thinking: Thinking = "keep",
    render: Renderer | None = None,
) -> dict[str, Any]:
    """Return a line of a training file.

    Args:
        item: The task and its answer.
        system: System message, unless the task has one of its own.
        thinking: ``keep`` the reasoning in ``<think>`` blocks, or ``strip`` it.
        render: Makes ``text`` of the chat; without it the line holds ``messages``.

    Returns:
        ``{"messages": [...]}`` or ``{"text": ...}``, with ``image`` where the task shows some, and
        ``metadata``: the task's id, and its
        language, category and difficulty where they are known.

    Raises:
        Unfit: If there is no answer, its reasoning has no end, or images are to become text.
    """
    if item.answer is None or not item.answer.strip():
        raise Unfit("has no answer")
    chat = list(item.prompt.messages)
    if item.question is not None:
        chat[-1] = Message("user", item.question)
    if system is not None and chat[0].role != "system":
        chat.insert(0, Message("system", system))
    chat.append(Message("assistant", _thought_out(item.answer, thinking)))
    line: dict[str, Any] = (
        {"text": render(chat)}
        if render is not None
        else {"messages": [{"role": one.role, "content": one.content} for one in chat]}
    )
    prompt = item.prompt
    if prompt.images:
        if render is not None:
            raise Unfit("shows images, which have no place in a text")
        line["image"] = list(prompt.images)
    about = {
        "id": prompt.id,
        "language": prompt.language,
        "category": prompt.category,
        "difficulty": prompt.difficulty,
    }
    return line | {"metadata": {key: value for key, value in about.items() if value is not None}}


def prompt_line(
    item: Item, system: str | None = None, max_tests: int | None = None
) -> dict[str, Any]:
    """Return a line of a prompts file, which `load_prompts` can read.

    Args:
        item: The task.
        system: System message, unless the task has one of its own.
        max_tests: Keep the first so many cases, and as many hidden ones; test code is kept whole.

    Raises:
        Unfit: If the line could not be read again.
    """
    prompt = item.prompt
    if system is not None and prompt.messages[0].role != "system":
        chat = (Message("system", system), *prompt.messages)
        prompt = dataclasses.replace(prompt, messages=chat)
    reference = dataclasses.replace(
        prompt.reference,
        tests=prompt.reference.tests[:max_tests],
        hidden_tests=prompt.reference.hidden_tests[:max_tests],
    )
    line = prompt_record(dataclasses.replace(prompt, reference=reference))
    try:
        parse_prompt(line)
    except ConfigError as error:
        raise Unfit(error.problems[0]) from error
    return line


def _thought_out(answer: str, thinking: Thinking) -> str:
    """Return the answer with or without what was thought before it."""
    start = answer.find(_OPEN)
    if start < 0 and _CLOSE not in answer:
        return answer
    end = answer.rfind(_CLOSE)
    if end < start or end < 0:
        raise Unfit("the reasoning has no end")
    said = answer[end + len(_CLOSE) :].strip()
    if not said:
        raise Unfit("there is nothing after the reasoning")
    if thinking == "strip":
        return said
    thought = answer[max(start, 0) : end].removeprefix(_OPEN).strip()
    return f"{_OPEN}\n{thought}\n{_CLOSE}\n\n{said}"
