"""What is kept for builds: made once, whole or not at all, never changed by a program."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from halo_forge.sandbox import Job, Kept, Step, python_executable
from halo_forge.sandbox.children import fork_child
from halo_forge.sandbox.client import BrokerSandbox
from halo_forge.sandbox.shelf import Shelf, make_folder
from halo_forge.sandbox.wire import decode_job, encode_job
from tests.needs import lacking
from tests.unit.sandbox.shelf_work import new_kept, use_from_two_workers


class Maker:
    """Makes what a shelf asks for in a directory, and counts."""

    def __init__(self, box: Path, size: int = 10) -> None:
        self.box = box
        self.size = size
        self.made = 0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Path | None]:
        self.made += 1
        (self.box / "out").unlink(missing_ok=True)
        (self.box / "out").write_bytes(b"x" * self.size)
        yield self.box


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty shelf."""
    make_folder(tmp_path / "shelf")
    return tmp_path / "shelf"


def _ask(shelf: Shelf, kept: Kept, maker) -> tuple[str, ...]:
    with shelf.lend(kept, maker) as flags:
        return flags


def _shown(folder: Path) -> list[str]:
    (folder / "shown").chmod(0o711)
    return sorted(path.name for path in (folder / "shown").iterdir())


def test_made_once_for_all_workers(folder: Path, tmp_path: Path) -> None:
    """The first makes it, all use it, and nobody may write to it."""
    shelves, maker = [Shelf(folder, "/kept", 1 << 20) for _ in range(2)], Maker(tmp_path)
    flags = [_ask(shelf, new_kept(), maker) for shelf in shelves * 2]
    assert flags == [("/kept/k/out",)] * 4
    assert maker.made == 1
    assert (folder / "shown" / "k" / "out").read_bytes() == b"x" * 10
    assert (folder / "shown" / "k" / "out").stat().st_mode & 0o222 == 0


def test_a_failure_is_not_repeated(folder: Path) -> None:
    """What cannot be made is tried once, whoever asks."""
    asked = []

    @contextlib.contextmanager
    def fails() -> Iterator[None]:
        asked.append(1)
        yield None

    shelves = [Shelf(folder, "/kept", 100) for _ in range(2)]
    assert [_ask(shelf, new_kept(), fails) for shelf in shelves * 2] == [()] * 4
    assert len(asked) == 1


def test_the_longest_unused_goes_first(folder: Path, tmp_path: Path) -> None:
    """The longest unused is thrown away for room; what is too large never enters."""
    shelf, maker = Shelf(folder, "/kept", 25), Maker(tmp_path)
    for key in ("k001", "k002", "k001", "k003"):
        assert _ask(shelf, new_kept(key), maker)
    assert _shown(folder) == ["k001", "k003"]
    large = Maker(tmp_path, size=26)
    assert [_ask(shelf, new_kept("k004"), large) for _ in range(3)] == [()] * 3
    assert large.made == 1
    assert not any((folder / "shown" / "k004").iterdir())


def test_what_is_in_use_stays(folder: Path, tmp_path: Path) -> None:
    """A compiler that was told of a header finds it, though another worker needs the room."""
    one, other = (Shelf(folder, "/kept", 15) for _ in range(2))
    with one.lend(new_kept("k001"), Maker(tmp_path)) as flags:
        assert flags
        assert _ask(other, new_kept("k002"), Maker(tmp_path)) == ()
        assert (folder / "shown" / "k001" / "out").exists()
    assert _ask(other, new_kept("k003"), Maker(tmp_path)) == ("/kept/k003/out",)
    assert "k001" not in _shown(folder)


def test_two_do_not_make_the_same(folder: Path, tmp_path: Path) -> None:
    """While one worker makes it, another does without instead of making it too or waiting."""
    one, other = (Shelf(folder, "/kept", 100) for _ in range(2))
    meanwhile, second = [], Maker(tmp_path)

    @contextlib.contextmanager
    def slowly() -> Iterator[Path]:
        meanwhile.append(_ask(other, new_kept(), second))
        (tmp_path / "out").write_bytes(b"x")
        yield tmp_path

    assert _ask(one, new_kept(), slowly) == ("/kept/k/out",)
    assert meanwhile == [()]
    assert second.made == 0


def test_a_killed_maker_leaves_nothing_half_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was copied by half when its worker was killed is never shown, and is made anew."""
    shelf = Shelf(folder, "/kept", 100)
    (tmp_path / "box").mkdir()

    def die_after_a_part(descriptor: int, data: bytes) -> int:
        os.pwrite(descriptor, data[:3], 0)
        os.kill(os.getpid(), signal.SIGKILL)
        return 3

    def work() -> None:
        maker = Maker(tmp_path / "box")
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", die_after_a_part)
            _ask(Shelf(folder, "/kept", 100), new_kept(), maker)

    child = fork_child(work)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert [path.stat().st_size for path in folder.glob("part-*/out")] == [3]
    assert _shown(folder) == []
    assert _ask(shelf, new_kept(), Maker(tmp_path)) == ("/kept/k/out",)
    assert (folder / "shown" / "k" / "out").read_bytes() == b"x" * 10


def test_a_full_disk_means_to_do_without(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room on the disk is no fault: builds go on without."""

    def full(descriptor: int, data: bytes) -> int:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and data[:1] == b"x":
            raise OSError(errno.ENOSPC, "full")
        return os.pwrite(descriptor, data, 0)

    shelf = Shelf(folder, "/kept", 100)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert _ask(shelf, new_kept(), Maker(tmp_path)) == ()
    assert list((folder / "shown" / "k").iterdir()) == []


def test_only_plain_files_are_taken(folder: Path, tmp_path: Path) -> None:
    """A link, a directory or nothing in the place of the result is not followed."""
    shelf = Shelf(folder, "/kept", 1 << 20)
    for number, plant in enumerate((
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.mkdir(),
        lambda path: None,
    )):  # fmt: skip
        box = tmp_path / f"box{number}"
        box.mkdir()
        plant(box / "out")
        maker = partial(contextlib.nullcontext, box)
        assert _ask(shelf, new_kept(f"k{number}"), maker) == ()
        assert list((folder / "shown" / f"k{number}").iterdir()) == []


def test_names_are_plain() -> None:
    """Neither key nor file may lead out of its directory."""
    for fields in (("../k", "in", "out"), ("k", "a/b", "out"), ("k", "in", "..")):
        with pytest.raises(ValueError, match="plain name"):
            Kept(fields[0], {fields[1]: b""}, Step(("true",)), (fields[2],), ())


def test_a_job_with_it_crosses_the_wire() -> None:
    """What is kept arrives with the job."""
    job = Job({"a": b"1", "b": b"2"}, Step(("true",), b"in"), (Step(("x",)),), kept=new_kept())
    assert decode_job(*encode_job(job), {}) == job
    assert decode_job(*encode_job(Job({"a": b"1"})), {}) == Job({"a": b"1"})


def test_builds_use_it_and_programs_cannot_change_it(sandbox: BrokerSandbox) -> None:
    """Both workers give builds the one result, whatever the programs before tried to do to it."""
    found = use_from_two_workers(sandbox) - {b""}
    assert len(found) == (1 if sandbox.backend in {"namespaces", "landlock"} else 0)


_ELSEWHERE = """
from halo_forge.sandbox.backends import open_backend
from tests.unit.sandbox.shelf_work import use_from_two_workers
with open_backend("namespaces", workers=2) as sandbox:
    found = use_from_two_workers(sandbox) - {b""}
    print(len(found), sandbox._scratch)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("who", ["an ordinary user", "root without its capability"])
def test_another_user_gets_the_same(who: str, root: Path, sandbox: BrokerSandbox) -> None:
    """So it is for a user without privilege; workers with users of their own share nothing."""
    if sandbox.backend != "namespaces":
        pytest.skip("the backend keeps nothing for builds")
    python = [sys.executable, "-W", "error", "-c", _ELSEWHERE]
    if who == "an ordinary user":
        python[0] = python_executable()
        identity = {"user": 65534, "group": 65534, "extra_groups": []}
    else:
        if shutil.which("setpriv") is None:
            lacking("setpriv is not installed")
        python = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", *python]
        identity = {}
    finished = subprocess.run(
        python,
        **identity,
        env={"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    count, scratch = finished.stdout.split()
    assert int(count) == (1 if who == "an ordinary user" else 2)
    assert not Path(scratch).exists()
