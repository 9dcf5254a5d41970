"""What workers keep for builds: made once, never by a program, thrown away when room is short."""

from __future__ import annotations

from pathlib import Path

import pytest

from halo_forge.sandbox import Job, Kept, Step
from halo_forge.sandbox.client import BrokerSandbox
from halo_forge.sandbox.shelf import Shelf
from halo_forge.sandbox.wire import decode_job, encode_job


def _kept(key: str = "k", script: str = "cat in in > out") -> Kept:
    build = Step(("sh", "-c", script))
    return Kept(key, {"in": key.encode() * 10}, build, ("out",), ("{kept}/out",))


class Maker:
    """Makes what a shelf asks for in a directory, and counts."""

    def __init__(self, box: Path, size: int = 10) -> None:
        self.box = box
        self.size = size
        self.made = 0

    def __call__(self) -> Path | None:
        self.made += 1
        (self.box / "out").unlink(missing_ok=True)
        (self.box / "out").write_bytes(b"x" * self.size)
        return self.box


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty directory for a shelf."""
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


def test_made_at_the_second_request(place: Path, tmp_path: Path) -> None:
    """The first request is told to do without; the others share one result."""
    shelf, maker = Shelf(place, 100), Maker(tmp_path)
    flags = [shelf.flags(_kept(), maker) for _ in range(4)]
    assert flags == [(), *[(f"{place}/k/out",)] * 3]
    assert maker.made == 1
    assert (place / "k" / "out").read_bytes() == b"x" * 10
    assert (place / "k" / "out").stat().st_mode & 0o222 == 0


def test_a_failure_is_not_repeated(place: Path) -> None:
    """What cannot be made is asked for once."""
    shelf, asked = Shelf(place, 100), []
    assert [shelf.flags(_kept(), lambda: asked.append(1)) for _ in range(5)] == [()] * 5
    assert len(asked) == 1


def test_the_longest_unused_goes_first(place: Path, tmp_path: Path) -> None:
    """The longest unused is thrown away for room; what is too large never enters."""
    shelf, maker = Shelf(place, 25), Maker(tmp_path)
    for key in ("a", "a", "b", "b", "a", "c", "c"):
        shelf.flags(_kept(key), maker)
    assert sorted(path.name for path in place.iterdir()) == ["a", "c"]
    large = Maker(tmp_path, size=26)
    assert [shelf.flags(_kept("d"), large) for _ in range(3)] == [()] * 3
    assert sorted(path.name for path in place.iterdir()) == ["a", "c"]


def test_only_plain_files_are_taken(place: Path, tmp_path: Path) -> None:
    """A link, a directory or nothing in the place of the result is not followed."""
    for number, plant in enumerate((
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.mkdir(),
        lambda path: None,
    )):  # fmt: skip
        box = tmp_path / f"box{number}"
        box.mkdir()
        plant(box / "out")
        shelf = Shelf(place, 1 << 20)
        assert [shelf.flags(_kept(), lambda box=box: box) for _ in range(3)] == [()] * 3
    assert list(place.iterdir()) == []


def test_names_are_plain() -> None:
    """Neither key nor file may lead out of its directory."""
    for fields in (("../k", "in", "out"), ("k", "a/b", "out"), ("k", "in", "..")):
        with pytest.raises(ValueError, match="plain name"):
            Kept(fields[0], {fields[1]: b""}, Step(("true",)), (fields[2],), ())


def test_a_job_with_it_crosses_the_wire() -> None:
    """What is kept arrives with the job."""
    job = Job({"a": b"1", "b": b"2"}, Step(("true",), b"in"), (Step(("x",)),), kept=_kept())
    assert decode_job(*encode_job(job)) == job
    assert decode_job(*encode_job(Job({"a": b"1"}))) == Job({"a": b"1"})


def test_builds_use_it_and_programs_cannot_change_it(sandbox: BrokerSandbox) -> None:
    """A build gets the result as an argument; a run finds it unchangeable, and so does a build."""
    kept = _kept("shelf-test")
    script = "test $# = 0 && exit 0; cat $1; echo evil > $1; rm -f $1; touch $1x; true"
    build = Step(("sh", "-c", script, "/dev/null"))
    run = Step(("sh", "-c", "touch /kept/x ../kept/x 2>/dev/null && echo wrote"))
    seen = set()
    for _ in range(6):
        result = sandbox.run(Job({}, build, (run,), kept=kept))
        assert result.build is not None
        assert result.runs
        seen.add(result.build.stdout)
        assert b"wrote" not in b"".join(one.stdout for one in result.runs)
    has_shelf = sandbox.backend in {"namespaces", "landlock"}
    assert seen == ({b"", b"shelf-test" * 20} if has_shelf else {b""})
