"""A file that grows aside: whole or not at all, gone on with, and never by two at once."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.core.errors import StoreFault, UserError
from halo_forge.store.growing import GrowingFile, file_digest, manifest_path, read_manifest


def _write(path, plan, numbers, *, stop=None):
    """Write numbers from where the last attempt was; with ``stop`` leave off before the end."""
    with GrowingFile(path, plan) as file:
        done = file.progress.get("done", 0)
        assert [line["n"] for line in file.lines()] == numbers[:done]
        for at, number in enumerate(numbers[done:], done):
            file.append({"n": number})
            if at % 3 == 0:
                file.checkpoint({"done": at + 1})
            if stop is not None and at >= stop:
                return None
        return file.finish({"numbers": len(numbers)})


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 19), max_size=4))
def test_any_interruptions_give_the_same_file(tmp_path_factory, stops):
    """Wherever attempts were cut off, the file, its digest and its manifest are the same."""
    folder = tmp_path_factory.mktemp("growing")
    numbers = list(range(20))
    whole = _write(folder / "a.jsonl", "plan", numbers)
    for stop in stops:
        _write(folder / "b.jsonl", "plan", numbers, stop=stop)
        assert not (folder / "b.jsonl").exists()
    last = _write(folder / "b.jsonl", "plan", numbers)
    assert last == whole == read_manifest(folder / "b.jsonl")
    data = (folder / "b.jsonl").read_bytes()
    assert data == (folder / "a.jsonl").read_bytes()
    assert last["sha256"] == hashlib.sha256(data).hexdigest() == file_digest(folder / "b.jsonl")
    left = {path.name for path in folder.iterdir()}
    assert left == {f"{name}.jsonl{end}" for name in "ab" for end in ("", ".manifest.json")}


def test_another_plan_begins_anew(tmp_path):
    """What was made for something else is not gone on with."""
    path = tmp_path / "a.jsonl"
    _write(path, "old", [9] * 20, stop=12)
    assert _write(path, "new", [1, 2])["bytes"] == len(path.read_bytes()) == 16


def test_lost_bytes_begin_anew(tmp_path):
    """A part that is shorter than its checkpoint says is not believed."""
    path = tmp_path / "a.jsonl"
    _write(path, "plan", list(range(20)), stop=12)
    (tmp_path / "a.jsonl.part").write_bytes(b"")
    _write(path, "plan", list(range(20)))
    lines = path.read_text().splitlines()
    assert [json.loads(line)["n"] for line in lines] == list(range(20))


def test_one_at_a_time(tmp_path):
    """The second writer is refused, and the first goes on."""
    path = tmp_path / "a.jsonl"
    with GrowingFile(path, "plan") as first:
        with pytest.raises(UserError, match="another process is writing it"):
            GrowingFile(path, "plan")
        first.append({"n": 1})
        first.finish({})
    assert path.read_text() == '{"n":1}\n'


def test_damaged_manifest(tmp_path):
    """It is named, and is not taken for none."""
    manifest_path(tmp_path / "a.jsonl").write_text("{")
    with pytest.raises(StoreFault, match=r"a\.jsonl\.manifest\.json: damaged"):
        read_manifest(tmp_path / "a.jsonl")


def test_nothing_is_left_of_discarded_work(tmp_path):
    """Work that came to nothing leaves nothing."""
    with GrowingFile(tmp_path / "a.jsonl", "plan") as file:
        file.append({})
        file.checkpoint({})
        file.discard()
    assert list(tmp_path.iterdir()) == []
