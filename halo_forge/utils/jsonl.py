"""Read JSONL line by line; a bad line is a value with its place and reason, never an end.

The journals of a run directory, which are appended to and may end torn, are `store.records`'.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from halo_forge.utils.text import json_kind

__all__ = ["BadLine", "read_jsonl"]

_BOM = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that holds no JSON object, and why."""

    path: Path
    line: int
    reason: str


def read_jsonl(
    path: str | Path, *, constants: bool = False
) -> Iterator[tuple[int, dict[str, Any] | BadLine]]:
    """Yield ``(line number, object)`` for every line of a JSONL file, one line in memory.

    Blank lines are skipped but counted, a UTF-8 byte order mark is ignored, and a
    gzip-compressed file is recognised by its content, whatever its name.

    Args:
        path: The file.
        constants: Take ``NaN`` and ``Infinity``, which Python writes and JSON does not know.

    Yields:
        The line's number from 1, and its object, or a `BadLine` for bad JSON, bad UTF-8 or a
        value that is no object. A damaged gzip stream yields one `BadLine` and ends.

    Raises:
        OSError: If the file cannot be opened or read.
    """
    path = Path(path)
    number = 0
    with path.open("rb") as raw, _unpacked(raw) as stream:
        try:
            for number, line in enumerate(stream, 1):
                line = line.removeprefix(_BOM) if number == 1 else line
                if line.strip():
                    value = _object(line, first=number == 1, constants=constants)
                    yield number, BadLine(path, number, value) if isinstance(value, str) else value
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            yield number + 1, BadLine(path, number + 1, f"the gzip stream is damaged: {error}")


def _unpacked(raw: io.BufferedReader) -> io.BufferedReader:
    if raw.peek(2)[:2] == _GZIP_MAGIC:
        return io.BufferedReader(gzip.GzipFile(fileobj=raw))
    return raw


def _object(line: bytes, *, first: bool, constants: bool) -> dict[str, Any] | str:
    """Return the line's object, or the reason why it has none."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        if first and line.startswith(_UTF16_MARKS):
            return "not UTF-8: the file looks like UTF-16; save it as UTF-8"
        return f"not UTF-8: byte 0x{line[error.start]:02x} at byte {error.start + 1} of the line"
    try:
        value = _parsed(text, constants=constants)
    except json.JSONDecodeError as error:
        hint = "; one object a line is wanted" if text.strip() in {"[", "{"} else ""
        return f"not JSON: {error.msg} (column {error.colno}){hint}"
    if not isinstance(value, dict):
        return f"not a JSON object but {json_kind(value)}"
    return value


def _parsed(text: str, *, constants: bool) -> Any:
    """Parse JSON; orjson's errors are those of the standard library too."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if constants and ("NaN" in text or "Infinity" in text):
            return json.loads(text)
        raise
