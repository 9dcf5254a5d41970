"""A journal cut off or refused at any byte gives the whole records before it, and goes on."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.core.errors import StoreFault
from halo_forge.store.records import Journal, read_records

Record = dict[str, str]
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
_records = st.lists(
    st.fixed_dictionaries({"id": _text, "text": _text}),
    min_size=1,
    max_size=3,
    unique_by=lambda record: record["id"],
)
_NEXT = {"id": "what comes after", "text": "\n"}


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_device() -> Iterator[None]:
    """Skip the flush: what is tested is what was written, thousands of times."""
    with mock.patch("os.fsync", return_value=None):
        yield


class _SmallDisk(io.RawIOBase):
    """Takes ``room`` bytes, in part if need be, then says that the disk is full."""

    def __init__(self, path: Path, room: int) -> None:
        self._file = path.open("ab", buffering=0)
        self._room = room

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, data) -> int:
        piece = bytes(data)[: self._room]
        if not piece:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= len(piece)
        self._file.write(piece)
        return len(piece)

    def close(self) -> None:
        self._file.close()
        super().close()


def _id(record: dict[str, object]) -> str:
    return str(record["id"])


def _append_all(journal: Journal, records: list[Record], accepted: list[Record]) -> None:
    """Append until the disk refuses, noting what it took."""
    for record in records:
        journal.append(record)
        accepted.append(record)


def _lines(records: list[Record]) -> list[bytes]:
    return [orjson.dumps(record) + b"\n" for record in records]


@settings(max_examples=8, deadline=None)
@given(_records)
def test_torn_at_every_byte(records: list[Record]) -> None:
    """Whatever byte a kill came at: whole records are kept, the torn one is owed and follows."""
    lines = _lines(records)
    content = b"".join(lines)
    ends = [sum(map(len, lines[:n])) for n in range(len(lines) + 1)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "samples.jsonl")
        for cut in range(len(content) + 1):
            path.write_bytes(content[:cut])
            whole = sum(end <= cut for end in ends) - 1
            assert list(read_records(path)) == records[:whole]
            with Journal(path, _id) as journal:
                assert list(journal.records.values()) == records[:whole]
                for record in [*records, _NEXT]:
                    journal.append(record)
            assert path.read_bytes() == content + _lines([_NEXT])[0]


@settings(max_examples=30, deadline=None)
@given(_records, st.data())
def test_disk_full_at_any_byte(records: list[Record], data: st.DataObject) -> None:
    """Whatever byte the disk was full at: accepted records are there, and the rest follows."""
    room = data.draw(st.integers(0, sum(map(len, _lines(records))) - 1))
    accepted: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "samples.jsonl")
        journal = Journal(path, _id)
        journal._file.close()
        journal._file = io.BufferedWriter(_SmallDisk(path, room))
        with pytest.raises(StoreFault, match="no space left"):
            _append_all(journal, records, accepted)
        with pytest.raises(StoreFault, match="no space left"):
            journal.close()

        with Journal(path, _id) as journal:
            assert list(journal.records.values()) == accepted
            for record in [*records, _NEXT]:
                journal.append(record)
        assert list(read_records(path)) == [*records, _NEXT]


@settings(max_examples=30, deadline=None)
@given(_records, st.data())
def test_order_and_repetition_do_not_matter(records: list[Record], data: st.DataObject) -> None:
    """Work done twice does no harm: the first record of each key is the one that counts."""
    again = data.draw(st.lists(st.sampled_from(records), max_size=8))
    changed = [{**record, "text": "another"} for record in again]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "samples.jsonl")
        path.write_bytes(b"".join(_lines([*records, *changed])))
        with Journal(path, _id) as journal:
            for record in changed:
                journal.append(record)
            assert list(journal.records.values()) == records
        assert path.read_bytes() == b"".join(_lines([*records, *changed]))
