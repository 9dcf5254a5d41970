"""What of a record is compared with benchmarks: what it says, and the code in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from halo_forge.core.types import Message, Prompt
from halo_forge.data.code import code_blocks

__all__ = ["Content", "chat_content", "prompt_content", "row_content"]

_DOCSTRING = re.compile(r"(\"{3}|'{3})(.*?)\1", re.DOTALL)
# Within one line: what took line ends too would read a run of blank lines once for each of them.
_CODE = re.compile(
    r"[{};][ \t\r]*$|\breturn\b|^[ \t]*(?:def|class|import|from|fn|func)\b", re.MULTILINE
)
_TASKS = ("prompt", "text", "question_content", "question", "instruction", "query", "problem",
          "description", "statement")  # fmt: skip
_PROGRAMS = ("canonical_solution", "reference", "solution", "code")
_ANSWERS = ("completion", "output", "response", "answer")


@dataclass(frozen=True, slots=True)
class Content:
    """What of a record is compared: what it says, and the code in it with its language."""

    texts: tuple[str, ...] = ()
    codes: tuple[tuple[str, str | None], ...] = ()


def prompt_content(prompt: Prompt) -> Content:
    """Return what of a prompt is compared: what is asked, and the reference solution."""
    texts = tuple(turn.content for turn in prompt.messages if turn.role != "system")
    solution = prompt.reference.solution
    own = ((solution, prompt.language),) if solution is not None else ()
    return Content(texts, (*own, *_codes(texts)))


def chat_content(messages: Sequence[Message], text: str | None = None) -> Content:
    """Return what of a training record is compared: all that is said, and the code in it."""
    texts = tuple(turn.content for turn in messages if turn.role != "system")
    if text is not None:
        texts = (*texts, text)
    return Content(texts, tuple(_codes(texts)))


def row_content(row: Mapping[str, Any]) -> Content:
    """Return what a row of any benchmark asks, and its solution, by the names of its columns."""
    texts = [_statement(row[key]) for key in _TASKS if _is_text(row.get(key))]
    answers = [row[key] for key in _ANSWERS if _is_text(row.get(key))]
    programs = [row[key] for key in _PROGRAMS if _is_text(row.get(key))]
    whole = _whole_function(row)
    turns = row.get("messages")
    if isinstance(turns, list):
        said = (turn.get("content") for turn in turns if isinstance(turn, dict))
        texts += [text for text in said if isinstance(text, str) and text.strip()]
    # Bare code is looked for in solutions only: a statement that says "return" is none.
    fenced = [(block.code, block.tag or None) for text in texts for block in code_blocks(text)]
    own = [code for one in programs for code in (_codes([one]) or [(one, None)])]
    if whole:
        own = [(whole, "python")]
    return Content(tuple(texts), (*own, *_codes(answers), *fenced))


def _statement(text: str) -> str:
    """Return what a task asks, without the program around it and examples in code.

    HumanEval puts it into the docstring of a function, MBPP+ an ``assert`` behind it. A record that
    holds the task need not hold them.
    """
    inside = max((found[2] for found in _DOCSTRING.finditer(text)), key=len, default="")
    lines = (inside if inside.strip() else text).splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("assert ", ">>>")))


def _whole_function(row: Mapping[str, Any]) -> str | None:
    """Return head and body together where a benchmark keeps them apart, as HumanEval does."""
    head, body = row.get("prompt"), row.get("canonical_solution")
    if not (isinstance(head, str) and isinstance(body, str) and body[:1].isspace()):
        return None
    entry = row.get("entry_point")
    if not isinstance(entry, str) or f"def {entry}" in body:
        return None
    at = head.find(f"def {entry}")
    return head[at:] + body if at >= 0 else None


def _codes(texts: Iterable[str]) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for text in texts:
        blocks = code_blocks(text)
        found += [(block.code, block.tag or None) for block in blocks]
        if not blocks and _CODE.search(text):
            found.append((text, None))
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
