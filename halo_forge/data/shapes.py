"""Which form a data file has: prompts or training records, and how each line says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from halo_forge.core.errors import ConfigError, UserError
from halo_forge.data.builtin import PREFIX, load_builtin
from halo_forge.data.conversations import parse_training
from halo_forge.data.findings import Kind, Record
from halo_forge.data.formats import parse_prompt, prompt_record
from halo_forge.data.prompts import require_file
from halo_forge.data.rows import SUFFIXES, read_rows
from halo_forge.utils.jsonl import BadLine, read_jsonl

__all__ = ["Lines", "parse_record", "read_records", "record_of", "shape_of", "tell_kind"]

Lines = Iterator[tuple[int, dict[str, Any] | BadLine]]

_LOOKED_AT = 100
# What Python writes and JSON does not know is a fault of a data file.
_TABLES = frozenset(SUFFIXES) - {".jsonl", ".ndjson"}
_PAIRS = (
    ("prompt", "completion"),
    ("instruction", "output"),
    ("query", "response"),
    ("question", "answer"),
)


def read_records(source: str | Path, *, exact: bool = False) -> Lines:
    """Yield ``(line, object)`` for every line of a file, or for every built-in prompt.

    JSON, CSV and Parquet are told by the name of the file; any other is JSONL.

    Args:
        source: The file, or ``builtin:LANGUAGE/SPLIT``.
        exact: Read JSONL as `parse_exactly` does: whole numbers stay what they are.

    Raises:
        UserError: If there is no such file or built-in set, or it cannot be read.
    """
    if str(source).startswith(PREFIX):
        for number, prompt in enumerate(load_builtin(str(source)), 1):
            yield number, prompt_record(prompt)
        return
    path = Path(source)
    require_file(path)
    if Path(path.name.removesuffix(".gz")).suffix.lower() in _TABLES:
        yield from read_rows(path)
        return
    try:
        yield from read_jsonl(path, exact=exact)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def parse_record(line: int, row: Mapping[str, Any], kind: Kind) -> Record:
    """Return the record of an object.

    Raises:
        ConfigError: With what is wrong with it.
    """
    if kind == "prompts":
        prompt = parse_prompt(row)
        return Record(line, row, prompt.messages, None, prompt)
    messages, text = parse_training(row)
    return Record(line, row, messages, text)


def record_of(line: int, row: Mapping[str, Any] | BadLine, kind: Kind) -> Record | None:
    """Return the record of a line, if it has one."""
    if isinstance(row, BadLine):
        return None
    try:
        return parse_record(line, row, kind)
    except ConfigError:
        return None


def shape_of(row: Mapping[str, Any], kind: Kind) -> str:
    """Return in which form a line says what it says: ``messages``, ``prompt+completion``..."""
    given = {key for key, value in row.items() if value is not None}
    for key in ("messages", "conversations"):
        if key in given:
            return key
    if kind == "prompts":
        return "prompt"
    pairs = (*_PAIRS, ("prompt", "reference"))
    found = next((pair for pair in pairs if given.issuperset(pair)), None)
    if found == ("instruction", "output") and "input" in given:
        return "instruction+input+output"
    return "+".join(found) if found else "text"


def tell_kind(source: str | Path) -> Kind:
    """Return what a file holds, as most of its first hundred lines say.

    A prompt with a ``reference`` is a prompt; it can be trained on too.

    Raises:
        UserError: If the file cannot be read.
    """
    count = Counter(
        _kind_of(row)
        for _, row in islice(read_records(source), _LOOKED_AT)
        if not isinstance(row, BadLine)
    )
    return "training" if count["training"] > count["prompts"] else "prompts"


def _kind_of(row: Mapping[str, Any]) -> Kind | None:
    """Return what one line is, if it is recognised."""
    given = {key: value for key, value in row.items() if value is not None}
    if "conversations" in given or any(given.keys() >= set(pair) for pair in _PAIRS):
        return "training"
    turns = given.get("messages")
    if isinstance(turns, list) and turns and isinstance(turns[-1], dict):
        return "training" if turns[-1].get("role") == "assistant" else "prompts"
    if "prompt" in given:
        return "prompts"
    return "training" if "text" in given else None
