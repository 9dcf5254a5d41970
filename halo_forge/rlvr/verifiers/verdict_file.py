"""Verdicts in a file that several processes share: SQLite in WAL mode, each row sealed.

Whoever can write the file could write rewards into it. So each row carries a seal (HMAC-SHA-256 of
key and verdict) under a secret of the user's own, which lies elsewhere: rows that another user, a
shared folder or a broken disk put there are not read. It is no defence against the user's own
account, which could as well change halo-forge itself; model programs reach neither, since the
sandbox shows them nothing of the user's files.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import platformdirs

from halo_forge.core.errors import UserError

__all__ = ["VerdictFile"]

_APPLICATION = 0x48465643  # "HFVC": no other program's databases are touched
_SCHEMA = 1
_ROWS = 1_000_000
_WAIT = 5.0
_SECRET = "verdicts.secret"  # noqa: S105 - a file's name
_SECRET_BYTES = 32

_log = logging.getLogger(__name__)


class VerdictFile:
    """A table of verdicts on disk; thread-safe, shared between processes.

    Trouble with it later on costs time and never a verdict: what cannot be read is judged again.

    Args:
        path: The file; made when it is not there.
        rows: Verdicts kept at most, counted when it is opened; the oldest go.

    Raises:
        UserError: If it cannot be opened, or is something else.
    """

    def __init__(self, path: Path, *, rows: int = _ROWS) -> None:
        self._path = path
        self._rows = rows
        self._lock = threading.Lock()
        self._secret = _own_secret()
        self._database: sqlite3.Connection | None = None
        self._complained = False
        with self._lock:
            self._open()

    def read(self, key: str) -> str | None:
        """Return the text kept under ``key``, unless it was not written by this user."""
        with self._lock:
            try:
                found = (
                    self._open()
                    .execute("SELECT verdict, seal FROM verdicts WHERE key = ?", (key,))
                    .fetchone()
                )
            except (sqlite3.Error, UserError) as error:
                self._complain(error)
                return None
        if found is None:
            return None
        text, seal = found
        genuine = isinstance(text, str) and isinstance(seal, bytes)
        if not (genuine and hmac.compare_digest(seal, self._seal(key, text))):
            self._complain("a verdict in it was not written by this user")
            return None
        return str(text)

    def write(self, key: str, text: str) -> None:
        """Keep ``text`` under ``key``: whole, or not at all."""
        row = (key, text, self._seal(key, text))
        with self._lock:
            try:
                self._open().execute("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?)", row)
            except (sqlite3.Error, UserError) as error:
                self._complain(error)

    def close(self) -> None:
        """Close the file; using it opens it again."""
        with self._lock:
            database, self._database = self._database, None
            if database is not None:
                database.close()

    def _open(self) -> sqlite3.Connection:
        """Return the open database; the caller holds the lock."""
        if self._database is None:
            try:
                self._database = _opened(self._path, self._rows)
            except (sqlite3.Error, OSError) as error:
                raise UserError(
                    f"verdict cache {self._path}: cannot be used ({error}); name another file"
                ) from error
        return self._database

    def _seal(self, key: str, text: str) -> bytes:
        return hmac.digest(self._secret, f"{key}\n{text}".encode(), hashlib.sha256)

    def _complain(self, reason: object) -> None:
        if not self._complained:
            _log.warning("verdict cache %s: %s; judged again", self._path, reason)
            self._complained = True


def _opened(path: Path, rows: int) -> sqlite3.Connection:
    """Return the database, ready; waits for another process that is making the same file.

    SQLite itself does not wait while a file is being switched to WAL; see section 9 of its page
    "Write-Ahead Logging".
    """
    give_up = time.monotonic() + _WAIT
    while True:
        try:
            return _opened_once(path, rows)
        except sqlite3.OperationalError as error:
            primary = error.sqlite_errorcode & 0xFF
            if primary != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def _opened_once(path: Path, rows: int) -> sqlite3.Connection:
    database = sqlite3.connect(path, _WAIT, isolation_level=None, check_same_thread=False)
    try:
        _prepare(database, path, rows)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection, path: Path, rows: int) -> None:
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("BEGIN")  # one look at both: another process may be making the same file
    is_ours = _number(database, "PRAGMA application_id") == _APPLICATION
    is_empty = not _number(database, "SELECT count(*) FROM sqlite_master")
    database.execute("COMMIT")
    if not (is_ours or is_empty):
        raise UserError(f"verdict cache {path}: is a database of something else; name another file")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("BEGIN IMMEDIATE")
    if _number(database, "PRAGMA user_version") != _SCHEMA:
        database.execute("DROP TABLE IF EXISTS verdicts")
    database.execute(
        "CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, verdict TEXT, seal BLOB)"
    )
    database.execute(f"PRAGMA application_id = {_APPLICATION}")
    database.execute(f"PRAGMA user_version = {_SCHEMA}")
    database.execute(
        "DELETE FROM verdicts WHERE rowid <= (SELECT max(rowid) FROM verdicts) - ?", (rows,)
    )
    database.execute("COMMIT")


def _number(database: sqlite3.Connection, query: str) -> int:
    with closing(database.execute(query)) as cursor:
        return int(cursor.fetchone()[0])


def _own_secret() -> bytes:
    """Return this user's secret, made at the first call.

    Raises:
        UserError: If it cannot be kept, or others can read it.
    """
    path = platformdirs.user_data_path("halo-forge") / _SECRET
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _create(path)
        if path.stat().st_mode & 0o077:
            raise UserError(f"{path}: others can read it; chmod 600 it, or remove it for a new one")
        secret = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: needed for a verdict cache, and {error.strerror}") from error
    if len(secret) != _SECRET_BYTES:
        raise UserError(f"{path}: is damaged; remove it for a new one")
    return secret


def _create(path: Path) -> None:
    """Write a new secret as a whole, unless another process was faster."""
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
        with suppress(FileExistsError):
            os.link(new, path)
    finally:
        new.unlink()
