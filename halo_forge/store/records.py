"""An append-only journal of JSON lines that survives a pulled plug.

A record is one line, written by one call; a kill can tear only the last line, which is dropped
on the next opening and owed again. Records are kept by key: the first one wins, so work done
twice does no harm.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from halo_forge.core.errors import StoreFault
from halo_forge.store.atomic import disk_errors
from halo_forge.utils.text import json_kind

__all__ = ["Journal", "read_records"]

_Record = dict[str, Any]


def read_records(path: Path) -> Iterator[_Record]:
    """Yield the whole records of a journal; a torn last line is passed over.

    Raises:
        StoreFault: If a line other than the last is damaged: no kill does that, so it is said
            and not guessed at.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            yield _parse(path, number, line)


def _parse(path: Path, number: int, line: bytes) -> _Record:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _damaged(path, number, str(error)) from error
    if not isinstance(record, dict):
        raise _damaged(path, number, f"a JSON object is wanted, not {json_kind(record)}")
    return record


def _named(path: Path, number: int, record: _Record, key: Callable[[_Record], str]) -> str:
    try:
        return key(record)
    except KeyError as error:
        raise _damaged(path, number, f"{error} is missing") from error


def _damaged(path: Path, number: int, why: str) -> StoreFault:
    return StoreFault(
        f"{path}:{number}: damaged record ({why}). Remove this line and run the same command "
        "again: a cycle or benchmark that is not finished makes anew what is missing."
    )


class Journal:
    """A journal open for appending, with what it already holds.

    Args:
        path: The file; created when absent, its torn tail cut off.
        key: Names a record, for example its sample id.
        sync_every: Records between two flushes to the device; closing flushes too.
    """

    def __init__(self, path: Path, key: Callable[[_Record], str], *, sync_every: int = 16) -> None:
        self._path = path
        self._key = key
        self._sync_every = sync_every
        self._unsynced = 0
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.records: dict[str, _Record] = {}
            for number, record in enumerate(read_records(path), 1):
                self.records.setdefault(_named(path, number, record, key), record)
            self._file = path.open("ab")
            self._cut_torn_tail()

    def __enter__(self) -> Self:
        """Return the open journal."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Flush and close."""
        self.close()

    def __contains__(self, key: str) -> bool:
        return key in self.records

    def append(self, record: _Record) -> None:
        """Write one record, unless its key is there already.

        Raises:
            StoreFault: If the disk refuses; the journal is then as before, up to a torn tail.
        """
        key = self._key(record)
        if key in self.records:
            return
        with disk_errors(self._path):
            self._file.write(orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
            self._file.flush()
            self.records[key] = record
            self._unsynced += 1
            if self._unsynced >= self._sync_every:
                self._sync()

    def close(self) -> None:
        """Flush to the device and close; harmless the second time."""
        if not self._file.closed:
            with disk_errors(self._path):
                self._sync()
                self._file.close()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._unsynced = 0

    def _cut_torn_tail(self) -> None:
        with self._path.open("rb") as file:
            whole = 0
            for line in file:
                if not line.endswith(b"\n"):
                    self._file.truncate(whole)
                    return
                whole += len(line)
