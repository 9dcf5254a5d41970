"""Verdicts in a file: shared, sealed, whole or not at all, and never worth more than a verdict."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from halo_forge.core.errors import UserError
from halo_forge.core.types import VerifyResult
from halo_forge.rlvr.verifiers.cache import VerdictCache
from halo_forge.rlvr.verifiers.verdict_file import VerdictFile

GOOD = VerifyResult(True, 1.0, "\u00e4 right one", None, {"stage": "tests", "limits": []})


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """The folder in which this user's secret lies."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "halo-forge"


@pytest.fixture
def path(tmp_path) -> Path:
    """A file that holds one verdict."""
    cache = VerdictCache(tmp_path / "verdicts")
    cache.put("key", GOOD)
    cache.close()
    return tmp_path / "verdicts"


def _read(path: Path, key: str = "key") -> VerifyResult | None:
    cache = VerdictCache(path)
    try:
        return cache.get(key)
    finally:
        cache.close()


def _change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, values)


def test_a_later_process_finds_it(path, tmp_path) -> None:
    """What one process kept, another one has."""
    code = (
        "import sys\nfrom halo_forge.rlvr.verifiers.cache import VerdictCache\n"
        "cache = VerdictCache(sys.argv[1])\nprint(cache.get('key').reward)\ncache.close()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, path], check=False, capture_output=True, text=True
    )
    assert (run.stdout, run.stderr) == ("1.0\n", "")
    assert _read(path) == GOOD


def test_it_is_usable_after_close(path) -> None:
    """Closed is not gone."""
    cache = VerdictCache(path)
    cache.close()
    assert cache.get("key") == GOOD
    cache.close()
    cache.put("other", GOOD)
    cache.close()
    assert _read(path, "other") == GOOD


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE verdicts SET verdict = replace(verdict, '1.0', '0.5')",
        "UPDATE verdicts SET seal = zeroblob(32)",
        "UPDATE verdicts SET seal = NULL",
        "UPDATE verdicts SET seal = 'text'",
        "UPDATE verdicts SET verdict = NULL",
        "UPDATE verdicts SET verdict = CAST(verdict AS BLOB)",
        "DROP TABLE verdicts",
    ],
)
def test_what_was_tampered_with_is_not_believed(path, statement, caplog) -> None:
    """A row that was changed is judged again; a warning says so."""
    cache = VerdictCache(path)
    _change(path, statement)
    assert cache.get("key") is None
    assert "judged again" in caplog.text
    cache.close()


def test_a_verdict_cannot_be_moved_to_another_program(path) -> None:
    """A seal holds for its own key alone."""
    _change(path, "UPDATE verdicts SET key = 'other'")
    assert _read(path, "other") is None


def test_another_users_verdicts_are_not_believed(path, home) -> None:
    """Rows that were sealed with another secret are not this user's."""
    (home / "verdicts.secret").unlink()
    assert _read(path) is None
    cache = VerdictCache(path)
    cache.put("key", GOOD)
    cache.close()
    assert _read(path) == GOOD


def test_another_schema_is_started_anew(path) -> None:
    """Verdicts of another version's layout are dropped, not misread."""
    _change(path, "PRAGMA user_version = 999")
    assert _read(path) is None
    cache = VerdictCache(path)
    cache.put("key", GOOD)
    cache.close()
    assert _read(path) == GOOD


def test_somebody_elses_files_are_left_alone(tmp_path) -> None:
    """A database of another program and a file that is none are refused, unchanged."""
    other = tmp_path / "other"
    _change(other, "CREATE TABLE verdicts (mine)")
    text = tmp_path / "text"
    text.write_text("not a database, and long enough to be read as one " * 40)
    for path, said in ((other, "something else"), (text, "cannot be used")):
        before = path.read_bytes()
        with pytest.raises(UserError, match=said):
            VerdictCache(path)
        assert path.read_bytes() == before
    with pytest.raises(UserError, match="cannot be used"):
        VerdictCache(tmp_path / "no" / "such" / "folder")


def test_the_secret_is_the_users_own(path, home) -> None:
    """It is made once, readable by nobody else, and refused when others can read it."""
    secret = home / "verdicts.secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in home.iterdir()] == [secret.name]
    secret.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        VerdictCache(path)
    secret.chmod(0o600)
    secret.write_bytes(b"short")
    with pytest.raises(UserError, match="is damaged"):
        VerdictCache(path)


def test_rows_are_bounded(tmp_path) -> None:
    """Opening drops the oldest verdicts beyond the bound."""
    file = VerdictFile(tmp_path / "v", rows=3)
    for n in range(10):
        file.write(str(n), "text")
    file.close()
    assert [n for n in range(10) if file.read(str(n))] == [7, 8, 9]
    file.close()


def test_a_broken_file_costs_time_and_no_verdict(path, caplog) -> None:
    """When the file becomes unreadable in the middle, judging goes on without it."""
    cache = VerdictCache(path)
    cache.close()
    path.write_bytes(b"\xff" * 8192)
    for name in ("", "-wal", "-shm"):
        assert not Path(f"{path}{name}").exists() or name == ""
    assert cache.get("key") is None
    cache.put("key", GOOD)
    assert cache.get("key") == GOOD
    assert caplog.text.count("judged again") == 1
    cache.close()


WRITER = """\
import sys
from halo_forge.core.types import VerifyResult
from halo_forge.rlvr.verifiers.cache import VerdictCache
cache = VerdictCache(sys.argv[1])
for n in range(10**9):
    cache.put(str(n), VerifyResult(True, 1.0, str(n) * 500))
    print(n, flush=True)
"""


def test_a_crash_in_mid_write(tmp_path) -> None:
    """Killed while it writes, a process leaves whole verdicts: those it told of, and no halves."""
    path = tmp_path / "v"
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            told = [writer.stdout.readline() for _ in range(40)]
            os.kill(writer.pid, signal.SIGKILL)
            told += writer.stdout.readlines()
        known = [int(line) for line in told if line.endswith("\n")]
        cache = VerdictCache(path)
        for n in known:
            assert cache.get(str(n)) == VerifyResult(True, 1.0, str(n) * 500)
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        cache.close()


def test_two_processes_at_once(tmp_path) -> None:
    """Writers do not disturb each other."""
    path = tmp_path / "v"
    script = WRITER.replace("10**9", "60").replace("str(n),", "sys.argv[2] + str(n),", 1)
    writers = [
        subprocess.Popen([sys.executable, "-c", script, path, name], stdout=subprocess.DEVNULL)
        for name in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    cache = VerdictCache(path)
    assert all(cache.get(f"{name}{n}") for name in "ab" for n in range(60))
    cache.close()
