"""What is on disk is whole or not there, whatever interrupts the writing."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from halo_forge.core.errors import StoreFault
from halo_forge.store.atomic import disk_errors, replace_directory, write_text

# Writes directory after directory, of eight files each, until it is killed.
_WRITER = """
import sys
from pathlib import Path
from halo_forge.store.atomic import replace_directory, write_text

root = Path(sys.argv[1])
print("ready", flush=True)
for number in range(100_000):
    with replace_directory(root / f"cycle_{number}_final") as folder:
        for part in range(8):
            (folder / f"part_{part}").write_bytes(b"%06d" % number * 2000)
    write_text(root / "statistics.json", f"{number:06d}" * 2000)
"""


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _write_and_fail(target: Path, trouble: BaseException) -> None:
    with replace_directory(target) as folder:
        (folder / "weights").write_text("half")
        raise trouble


def _write_too_much(target: Path) -> None:
    with replace_directory(target) as folder:
        (folder / "small").write_bytes(b"x" * 1000)
        (folder / "weights").write_bytes(b"x" * 200_000)


def _listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_directory_appears_when_the_block_ends(tmp_path: Path) -> None:
    """The final name is not there before the end, and then holds everything, for all to read."""
    target = tmp_path / "deep" / "cycle_1_final"
    with replace_directory(target) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "weights").write_text("w")
        assert not target.exists()
        assert folder.parent == target.parent
    assert (target / "sub" / "weights").read_text() == "w"
    assert _listing(target.parent) == ["cycle_1_final"]
    assert target.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("trouble", [RuntimeError("boom"), KeyboardInterrupt(), SystemExit(3)])
def test_failure_inside_leaves_nothing(tmp_path: Path, trouble: BaseException) -> None:
    """Whatever ends the block early passes through, and nothing stays behind."""
    with pytest.raises(type(trouble)):
        _write_and_fail(tmp_path / "cycle_1_final", trouble)
    assert _listing(tmp_path) == []


def test_leftovers_of_an_interrupted_attempt_go(tmp_path: Path) -> None:
    """Temporary directories of the same name are removed first, others are not touched."""
    (tmp_path / "cycle_1_final.tmp-abc").mkdir()
    (tmp_path / "cycle_1_final.tmp-abc" / "weights").write_text("half")
    (tmp_path / "cycle_11_final.tmp-abc").mkdir()
    (tmp_path / "cycle_1_final_mine").mkdir()
    with replace_directory(tmp_path / "cycle_1_final"):
        pass
    assert _listing(tmp_path) == ["cycle_11_final.tmp-abc", "cycle_1_final", "cycle_1_final_mine"]


def test_half_written_files_go(tmp_path: Path) -> None:
    """What a killed process left of the same file is removed, that of another file stays."""
    (tmp_path / "run.json.tmp-abc").write_text("ha")
    (tmp_path / "a_run.json.tmp-abc").write_text("ha")
    write_text(tmp_path / "run.json", "whole")
    assert _listing(tmp_path) == ["a_run.json.tmp-abc", "run.json"]


def test_existing_directory_is_not_overwritten(tmp_path: Path) -> None:
    """A directory that is there already keeps its content, and nothing stays beside it."""
    target = tmp_path / "cycle_1_final"
    target.mkdir()
    (target / "weights").write_text("old")
    with pytest.raises(StoreFault, match="cycle_1_final"), replace_directory(target) as folder:
        (folder / "weights").write_text("new")
    assert (target / "weights").read_text() == "old"
    assert _listing(tmp_path) == ["cycle_1_final"]


def test_directory_on_a_full_disk(tiny_disk: Path) -> None:
    """A directory that does not fit leaves nothing, and the message says what to do."""
    target = tiny_disk / "cycle_1_final"
    with pytest.raises(StoreFault, match="no space left; free some") as caught:
        _write_too_much(target)
    assert str(target) in str(caught.value)
    assert _listing(tiny_disk) == []


def test_file_on_a_full_disk(tiny_disk: Path) -> None:
    """A file that does not fit leaves the old one as it was, and no temporary."""
    path = tiny_disk / "statistics.json"
    write_text(path, "old")
    with pytest.raises(StoreFault, match="no space left; free some"):
        write_text(path, "x" * 200_000)
    assert path.read_text() == "old"
    assert _listing(tiny_disk) == ["statistics.json"]
    write_text(path, "new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_file_keeps_its_content_when_a_step_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A disk that fills up at the flush or the rename changes nothing."""
    path = tmp_path / "statistics.json"
    write_text(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else Path, step, _full)
        with pytest.raises(StoreFault, match="nothing is lost"):
            write_text(path, "new")
    assert path.read_text() == "old"
    assert _listing(tmp_path) == ["statistics.json"]


def test_data_is_flushed_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content reaches the device before the name does, and the name's directory after it."""
    order: list[str] = []
    replace, fsync = Path.replace, os.fsync

    def noting_replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    def noting_fsync(handle: int) -> None:
        order.append("folder" if Path(f"/proc/self/fd/{handle}").resolve().is_dir() else "file")
        fsync(handle)

    monkeypatch.setattr(Path, "replace", noting_replace)
    monkeypatch.setattr(os, "fsync", noting_fsync)
    write_text(tmp_path / "run.json", "{}")
    assert order == ["file", "rename", "folder"]


def test_file_can_be_read_by_others(tmp_path: Path) -> None:
    """Results are no secrets: they do not keep the narrow mode of a temporary file."""
    write_text(tmp_path / "result.json", "{}")
    assert (tmp_path / "result.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space left; free some and run the same command again"),
        (errno.EDQUOT, "no space left; free some and run the same command again"),
        (errno.EACCES, "Permission denied"),
        (errno.EROFS, "Read-only file system"),
    ],
)
def test_disk_errors_say_what_and_where(number: int, said: str) -> None:
    """A disk error becomes a fault with the path and a reason one can act on."""
    with pytest.raises(StoreFault, match=said) as caught, disk_errors(Path("runs/a")):
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith("runs/a: ")
    assert caught.value.exit_code == 3


def test_kill_at_any_moment_leaves_whole_directories(tmp_path: Path) -> None:
    """Ten SIGKILLs while directories are written: what has a final name is whole."""
    rng = random.Random(5)
    torn = 0
    for attempt in range(10):
        root = tmp_path / str(attempt)
        root.mkdir()
        child = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(root)], stdout=subprocess.PIPE, text=True
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            while not (root / "statistics.json").exists():
                assert child.poll() is None
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.05))
            child.send_signal(signal.SIGKILL)
        torn += sum(".tmp-" in name for name in _listing(root))
        done = sorted(root.glob("cycle_*_final"), key=lambda path: int(path.name.split("_")[1]))
        for folder in done:
            content = f"{int(folder.name.split('_')[1]):06d}".encode() * 2000
            assert _listing(folder) == [f"part_{part}" for part in range(8)]
            assert all(path.read_bytes() == content for path in folder.iterdir())
        text = (root / "statistics.json").read_text()
        assert text in {f"{number:06d}" * 2000 for number in range(len(done))}
    assert torn, "no kill struck while something was written; the test proves nothing"
