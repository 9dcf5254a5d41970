"""The journal keeps whole records, in order, the first of each key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from halo_forge.core.errors import StoreFault
from halo_forge.store.records import Journal, read_records


def _id(record: dict[str, object]) -> str:
    return str(record["id"])


def _fill(path: Path, *numbers: int) -> None:
    with Journal(path, _id) as journal:
        for number in numbers:
            journal.append({"id": f"r{number}", "n": number})


def _append_until_full(journal: Journal, accepted: list[str]) -> None:
    for number in range(100):
        journal.append({"id": f"r{number}", "text": "x" * 3000})
        accepted.append(f"r{number}")


def test_records_come_back_in_order(tmp_path: Path) -> None:
    """What is appended is read again, by any number of openings."""
    path = tmp_path / "new" / "samples.jsonl"
    _fill(path, 3, 1)
    _fill(path, 2)
    assert [record["n"] for record in read_records(path)] == [3, 1, 2]
    with Journal(path, _id) as journal:
        assert list(journal.records) == ["r3", "r1", "r2"]
        assert "r2" in journal
        assert "r4" not in journal


def test_record_is_on_disk_at_once(tmp_path: Path) -> None:
    """A record is a whole line in the file before `append` returns."""
    path = tmp_path / "samples.jsonl"
    with Journal(path, _id) as journal:
        journal.append({"id": "a"})
        assert path.read_bytes() == b'{"id":"a"}\n'


def test_first_of_a_key_wins(tmp_path: Path) -> None:
    """A second record of a key is not written, and passed over when it is in the file."""
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"id":"a","n":1}\n{"id":"b","n":2}\n{"id":"a","n":3}\n')
    before = path.read_bytes()
    with Journal(path, _id) as journal:
        assert journal.records["a"]["n"] == 1
        journal.append({"id": "b", "n": 4})
        assert journal.records["b"]["n"] == 2
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"id":"b",\n', "damaged record"),
        (b"\n", "damaged record"),
        (b"\x00\x00\x00\n", "damaged record"),
        (b'{"id":"\xff"}\n', "damaged record"),
        (b"[1]\n", "a JSON object is wanted, not a list"),
        (b'{"n":7}\n', "'id' is missing"),
    ],
)
@pytest.mark.parametrize("after", [b'{"id":"c"}\n', b""])
def test_damaged_line_is_said_and_not_guessed_at(
    tmp_path: Path, line: bytes, said: str, after: bytes
) -> None:
    """A whole line that is no record stops with file and line, and the file stays as it is."""
    path = tmp_path / "samples.jsonl"
    content = b'{"id":"a"}\n' + line + after
    path.write_bytes(content)
    with pytest.raises(StoreFault, match="Remove this line") as caught:
        Journal(path, _id)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert said in str(caught.value)
    assert path.read_bytes() == content


def test_missing_file_holds_nothing(tmp_path: Path) -> None:
    """Reading a journal that was never written gives no records and makes no file."""
    assert list(read_records(tmp_path / "none.jsonl")) == []
    assert not (tmp_path / "none.jsonl").exists()


def test_directory_instead_of_a_file(tmp_path: Path) -> None:
    """A path that cannot be a journal is a fault with its name."""
    with pytest.raises(StoreFault, match=str(tmp_path)):
        Journal(tmp_path, _id)


def test_flushed_to_the_device_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every so many records, and when it is closed, once."""
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda _: flushed.append(len(journal.records)))
    with Journal(tmp_path / "samples.jsonl", _id, sync_every=3) as journal:
        for number in range(7):
            journal.append({"id": f"r{number}"})
        assert flushed == [3, 6]
    assert flushed == [3, 6, 7]
    journal.close()
    assert flushed == [3, 6, 7]


def test_full_disk_can_be_continued(tiny_disk: Path) -> None:
    """After a full disk every record that was accepted is there, and the rest follows."""
    path, ballast = tiny_disk / "samples.jsonl", tiny_disk / "ballast"
    ballast.write_bytes(b"x" * 32_000)
    accepted: list[str] = []
    journal = Journal(path, _id)
    with pytest.raises(StoreFault, match="no space left; free some"):
        _append_until_full(journal, accepted)
    with pytest.raises(StoreFault, match="no space left"):
        journal.close()
    journal.close()
    assert 5 <= len(accepted) <= 15

    ballast.unlink()
    with Journal(path, _id) as journal:
        assert list(journal.records) == accepted
        journal.append({"id": "next", "text": "x" * 3000})
    assert [record["id"] for record in read_records(path)] == [*accepted, "next"]


def test_room_made_while_open(tiny_disk: Path) -> None:
    """A journal that stays open over a full disk still writes whole lines afterwards."""
    path, ballast = tiny_disk / "samples.jsonl", tiny_disk / "ballast"
    ballast.write_bytes(b"x" * 60_000)
    with Journal(path, _id) as journal:
        with pytest.raises(StoreFault, match="no space left"):
            journal.append({"id": "a", "text": "x" * 6000})
        assert "a" not in journal
        ballast.unlink()
        journal.append({"id": "b"})
        journal.append({"id": "a", "text": "y"})
    read = {record["id"]: record for record in read_records(path)}
    assert read["b"] == {"id": "b"}
    assert set(read) == {"a", "b"}
