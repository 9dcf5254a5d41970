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

__all__ = ["BadLine", "parse_exactly", "read_jsonl"]

_BOM = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_HUGE = 2.0**63
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that holds no JSON object, and why."""

    path: Path
    line: int
    reason: str


def read_jsonl(
    path: str | Path, *, exact: bool = False
) -> Iterator[tuple[int, dict[str, Any] | BadLine]]:
    """Yield ``(line number, object)`` for every line of a JSONL file, one line in memory.

    Blank lines are skipped but counted, a UTF-8 byte order mark is ignored, and a
    gzip-compressed file is recognised by its content, whatever its name.

    Args:
        path: The file.
        exact: Read as `parse_exactly` does, not as the standard and 64 bits have it.

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
                    value = _object(line, first=number == 1, exact=exact)
                    yield number, BadLine(path, number, value) if isinstance(value, str) else value
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            yield number + 1, BadLine(path, number + 1, f"the gzip stream is damaged: {error}")


def _unpacked(raw: io.BufferedReader) -> io.BufferedReader:
    if raw.peek(2)[:2] == _GZIP_MAGIC:
        return io.BufferedReader(gzip.GzipFile(fileobj=raw))
    return raw


def _object(line: bytes, *, first: bool, exact: bool) -> dict[str, Any] | str:
    """Return the line's object, or the reason why it has none."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        if first and line.startswith(_UTF16_MARKS):
            return "not UTF-8: the file looks like UTF-16; save it as UTF-8"
        return f"not UTF-8: byte 0x{line[error.start]:02x} at byte {error.start + 1} of the line"
    try:
        value = parse_exactly(text) if exact else orjson.loads(text)
    except json.JSONDecodeError as error:
        hint = "; one object a line is wanted" if text.strip() in {"[", "{"} else ""
        column = min(error.pos, len(text.rstrip())) + 1  # its own counts anew after the line's end
        return f"not JSON: {error.msg} (column {column}){hint}"
    if not isinstance(value, dict):
        return f"not a JSON object but {json_kind(value)}"
    return value


def parse_exactly(text: str) -> Any:
    """Parse JSON as Python writes it: whole numbers of any size, ``NaN`` and ``Infinity`` too.

    orjson, which is faster, makes floats of whole numbers beyond 64 bits without a word. A text
    with half of a surrogate pair is refused either way: nothing could write it again.

    Raises:
        json.JSONDecodeError: If it is no JSON, even so.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if not ("NaN" in text or "Infinity" in text or "infinity" in error.msg):
            raise
    else:
        if not _holds_huge(value):
            return value
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", text[:1], 0) from None
    except json.JSONDecodeError:
        raise
    except UnicodeEncodeError:
        raise json.JSONDecodeError("half of a surrogate pair in a text", text[:1], 0) from None
    except ValueError as error:  # a number of thousands of digits
        raise json.JSONDecodeError(str(error).partition(";")[0], text[:1], 0) from None
    return value


def _holds_huge(value: Any) -> bool:
    """Tell whether there is a float in a document that may have been a whole number."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, float):
            if abs(one) >= _HUGE:
                return True
        elif isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            waiting.extend(one.values())
    return False
