"""Rows out of files, one at a time: JSONL, JSON, CSV and Parquet, plain or gzip.

Memory is that of one row (of one row group in Parquet), whatever the size of the file; only a JSON
document is read whole.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from halo_forge.core.errors import UserError
from halo_forge.utils.jsonl import BadLine, parse_exactly, read_jsonl
from halo_forge.utils.text import json_kind

__all__ = ["SUFFIXES", "Rows", "count_rows", "read_rows", "read_values"]

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_ROWS = 64
_LARGEST_JSON = 2 << 30
Rows = Iterator[tuple[int, dict[str, Any] | BadLine]]


def read_rows(path: Path) -> Rows:
    """Yield ``(number, row)`` for every row of a file.

    The format is told by the name: ``.jsonl`` (also ``.ndjson``), ``.json`` (one list, an object
    of lists is no table), ``.csv``, ``.tsv``, ``.parquet``, each but the last with ``.gz`` if it
    is compressed.

    Yields:
        The number from 1 (the line's, in JSONL and CSV), and the row, or a `BadLine` that says
        why there is none.

    Raises:
        UserError: If the format is unknown, the file cannot be read as what it says it is, or
            a package for it is missing.
    """
    suffix = _suffix(path)
    reader = _READERS.get(suffix)
    if reader is None:
        raise UserError(f"{path}: unknown format {suffix!r}. Known: {', '.join(SUFFIXES)}.")
    try:
        yield from reader(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def count_rows(path: Path) -> int | None:
    """Return about how many rows a file has, if that is cheap to know; for progress only."""
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    if path.suffix not in {".jsonl", ".ndjson"}:
        return None
    with path.open("rb") as raw:
        if raw.peek(2)[:2] == _GZIP_MAGIC:
            return None
        return sum(chunk.count(b"\n") for chunk in iter(lambda: raw.read(1 << 20), b""))


def _suffix(path: Path) -> str:
    bare = path.with_suffix("") if path.suffix == ".gz" else path
    return bare.suffix.lower()


def read_values(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the numbered values of the one list that a JSON file holds.

    Raises:
        UserError: If it is too large to be read whole, no list, or no JSON.
    """
    if path.stat().st_size > _LARGEST_JSON:
        raise UserError(f"{path}: too large to be read whole; make it JSONL: jq -c '.[]'")
    data = path.read_bytes()
    try:
        plain = gzip.decompress(data) if data[:2] == _GZIP_MAGIC else data
        document = parse_exactly(plain.decode("utf-8-sig"))
    except (ValueError, EOFError, zlib.error) as error:  # bad JSON and bad UTF-8 are ValueErrors
        yield from _json_lines_after_all(path, error)
        return
    if not isinstance(document, list):
        raise UserError(f"{path}: a list of objects is wanted, not {json_kind(document)}")
    yield from enumerate(document, 1)


def _json(path: Path) -> Rows:
    for number, row in read_values(path):
        reason = f"not a JSON object but {json_kind(row)}"
        yield number, row if isinstance(row, dict | BadLine) else BadLine(path, number, reason)


def _json_lines_after_all(path: Path, error: Exception) -> Rows:
    """Read a file called ``.json`` that holds one object a line, as many do."""
    rows = list(_jsonl(path))
    if len(rows) < 2 or isinstance(rows[0][1], BadLine):
        raise UserError(f"{path}: not JSON: {error}") from error
    yield from rows


def _csv(path: Path, delimiter: str = ",") -> Rows:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # answers are longer than 128 KiB
    with path.open("rb") as raw:
        packed = raw.peek(2)[:2] == _GZIP_MAGIC
        stream = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        table = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            header = next(table, None)
            if not header or len(set(header)) != len(header):
                raise UserError(f"{path}:1: the first line must name each column once")
            for cells in table:
                yield table.line_num, _record(path, table.line_num, header, cells)
        except (csv.Error, UnicodeDecodeError, EOFError, zlib.error) as error:
            yield table.line_num + 1, BadLine(path, table.line_num + 1, f"not CSV: {error}")


def _record(path: Path, line: int, header: list[str], cells: list[str]) -> dict[str, Any] | BadLine:
    if len(cells) != len(header):
        return BadLine(path, line, f"{len(cells)} cells under {len(header)} column names")
    return dict(zip(header, cells, strict=True))


def _tsv(path: Path) -> Rows:
    return _csv(path, "\t")


def _parquet_rows(path: Path) -> int | None:
    """Return what the file says; whoever reads it will say what is wrong with it."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError:
        return None
    try:
        with parquet.ParquetFile(path) as file:
            return int(file.metadata.num_rows)
    except pa.ArrowInvalid:
        return None


def _parquet(path: Path) -> Rows:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise UserError(
            f"{path}: Parquet needs the package {error.name!r}, which is not installed. "
            "Install the extra: pip install 'halo-forge[data]'."
        ) from error
    number = 0
    try:
        # A memory map would let a file that shrinks meanwhile kill the process.
        with parquet.ParquetFile(path, memory_map=False) as file:
            # One group at a time: read as a whole, groups stay in memory that were done with.
            groups = ([group] for group in range(file.num_row_groups))
            batches = (file.iter_batches(_PARQUET_ROWS, row_groups=group) for group in groups)
            for batch in itertools.chain.from_iterable(batches):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{path}: not Parquet, or damaged, after row {number}: {error}") from error


def _jsonl(path: Path) -> Rows:
    return read_jsonl(path, exact=True)


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
SUFFIXES = tuple(_READERS)
"""Endings of the files that are understood."""
