"""Prompts in and out: a JSONL file or the built-in tasks become a list of `Prompt`.

Two prompts with the same messages and images are one task asked twice: the second would double its
weight in training and its share in a benchmark, so `load_prompts` refuses them as it refuses a
repeated id.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from halo_forge.core.errors import ConfigError, UserError
from halo_forge.core.identity import digest
from halo_forge.core.types import Message, Prompt
from halo_forge.data.builtin import PREFIX, load_builtin
from halo_forge.data.formats import parse_prompt, prompt_record
from halo_forge.data.pictures import locate, pictures_digest
from halo_forge.store.atomic import write_text
from halo_forge.utils.jsonl import BadLine, read_jsonl
from halo_forge.utils.text import did_you_mean

__all__ = [
    "Entry",
    "Problem",
    "Scan",
    "load_prompts",
    "prompts_digest",
    "require_file",
    "scan_prompts",
    "with_system",
    "write_prompts",
]

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A prompt and the line it stands on (its position, for built-in prompts)."""

    line: int
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a line gave no prompt: it is unreadable, invalid, or repeats a prompt or an id."""

    rule: Literal["unreadable", "invalid", "repeated-prompt", "repeated-id"]
    line: int
    reason: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What a source holds: every usable prompt, and every line that gave none."""

    source: str
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


def load_prompts(
    source: str | Path, *, system: str | None = None, pictures: bool = True
) -> list[Prompt]:
    """Read prompts, all or none.

    Args:
        source: A JSONL file (plain or gzip), or ``builtin:LANGUAGE/SPLIT`` with LANGUAGE
            ``cpp`` or ``python`` and SPLIT ``train``, ``heldout`` or ``all``.
        system: System message for every prompt that has none. It does not change ids.
        pictures: Whether the pictures that prompts name have to be there.

    Raises:
        ConfigError: With every bad line as ``file:line: reason`` (the first 20).
        UserError: If there is no such file or built-in set, or it holds no prompt.
    """
    scan = scan_prompts(source, pictures=pictures)
    if scan.problems:
        raise ConfigError(_listed(scan))
    if not scan.entries:
        raise UserError(
            f"{source}: holds no prompts; one JSON object a line is wanted, such as "
            '{"prompt": "Print the sum of 1..n."}'
        )
    return [with_system(entry.prompt, system) for entry in scan.entries]


def scan_prompts(source: str | Path, *, pictures: bool = True) -> Scan:
    """Read prompts and keep going past bad lines, repeated ids and repeated prompts.

    Args:
        source: See `load_prompts`.
        pictures: Whether the pictures that prompts name have to be there.

    Raises:
        UserError: If there is no such file or built-in set, or it cannot be read.
    """
    if str(source).startswith(PREFIX):
        entries = [Entry(number, p) for number, p in enumerate(load_builtin(str(source)), 1)]
        return Scan(str(source), tuple(entries), ())
    path = Path(source)
    require_file(path)
    scan = _Scanner(path.parent if pictures else None)
    try:
        for number, value in read_jsonl(path):
            scan.take(number, value)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    return Scan(str(path), tuple(scan.entries), tuple(scan.problems))


def prompts_digest(prompts: Iterable[Prompt]) -> str:
    """Return the digest of everything the prompts say, ask and test, in their order."""
    return digest([_content(prompt) for prompt in prompts])


def _content(prompt: Prompt) -> dict[str, Any]:
    """Return a prompt's record, with what its images show in the place of where they are."""
    record = prompt_record(prompt)
    return record | {"image": pictures_digest(prompt.images)} if prompt.images else record


def with_system(prompt: Prompt, system: str | None) -> Prompt:
    """Return the prompt with a system message, unless it has one of its own; the id stays."""
    if system is None or prompt.messages[0].role == "system":
        return prompt
    return dataclasses.replace(prompt, messages=(Message("system", system), *prompt.messages))


def write_prompts(path: str | Path, prompts: Iterable[Prompt]) -> None:
    """Write prompts so that `load_prompts` gives them back equal, ids included.

    Raises:
        StoreFault: If the disk refuses; then nothing is written.
        ValueError: If a prompt has both test cases and test code.
    """
    lines = [orjson.dumps(prompt_record(prompt)).decode() + "\n" for prompt in prompts]
    write_text(Path(path), "".join(lines))


class _Scanner:
    """Collects prompts and problems, remembering which ids and messages were seen where."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder  # None leaves pictures as they are named
        self.entries: list[Entry] = []
        self.problems: list[Problem] = []
        self._ids: dict[str, int] = {}
        self._chats: dict[tuple[tuple[Message, ...], tuple[str, ...]], int] = {}

    def take(self, number: int, value: dict[str, object] | BadLine) -> None:
        if isinstance(value, BadLine):
            self.problems.append(Problem("unreadable", number, value.reason))
            return
        try:
            prompt = parse_prompt(value)
            if self._folder is not None:
                prompt = dataclasses.replace(prompt, images=locate(prompt.images, self._folder))
        except ConfigError as error:
            given = value.get("id")
            name = given if isinstance(given, str) else None
            self.problems += [Problem("invalid", number, why, name) for why in error.problems]
            return
        same_chat = self._chats.setdefault((prompt.messages, prompt.images), number)
        same_id = self._ids.setdefault(prompt.id, number)
        if same_chat != number:
            reason = f"the same prompt as line {same_chat}"
            self.problems.append(Problem("repeated-prompt", number, reason, prompt.id))
        elif same_id != number:
            reason = f"the id {prompt.id!r} is taken by line {same_id}"
            self.problems.append(Problem("repeated-id", number, reason, prompt.id))
        else:
            self.entries.append(Entry(number, prompt))


def _listed(scan: Scan) -> Sequence[str]:
    lines = [f"{scan.source}:{p.line}: {p.reason}" for p in scan.problems[:_SHOWN]]
    more = len(scan.problems) - _SHOWN
    return [*lines, f"... and {more} more"] if more > 0 else lines


def require_file(path: Path) -> None:
    """Refuse what is no file, with the nearest name.

    Raises:
        UserError: If ``path`` is a directory or nothing.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a directory; a JSONL file is wanted.{_jsonl_in(path)}")
    if path.exists():
        return
    if path.parent.is_dir():
        neighbours = [file.name for file in path.parent.iterdir()]
        hint = did_you_mean(path.name, neighbours) or _jsonl_in(path.parent)
    else:
        hint = f" There is no directory {path.parent}."
    raise UserError(f"{path}: no such file.{hint} Built-in prompts: {PREFIX}cpp/train.")


def _jsonl_in(folder: Path) -> str:
    names = sorted(file.name for file in folder.glob("*.jsonl*"))[:5]
    return f" There: {', '.join(names)}." if names else ""
