"""A JSONL file that grows aside, goes on after a kill, and appears whole with a manifest beside it.

While it grows there are ``NAME.part`` and ``NAME.part.json``, which says how far it is known to
be right. At the end the first becomes ``NAME``, ``NAME.manifest.json`` is written, and the second
goes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from halo_forge.core.errors import StoreFault, UserError
from halo_forge.store.atomic import disk_errors, sync_directory, write_text

__all__ = ["GrowingFile", "file_digest", "manifest_path", "read_manifest"]

_CHUNK = 1 << 20


def manifest_path(path: Path) -> Path:
    """Return where the manifest of a data file lies."""
    return path.with_name(f"{path.name}.manifest.json")


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Return the manifest of the data file ``path``; ``None`` when there is none to be read."""
    return _read_json(manifest_path(path))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    seen = hashlib.sha256()
    with disk_errors(path), path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            seen.update(chunk)
    return seen.hexdigest()


class GrowingFile:
    """A data file under way; what an attempt with the same plan has done is kept.

    Args:
        path: Where it will be.
        plan: Name of all that decides its content. An attempt under another plan is thrown away.

    Attributes:
        progress: What the last checkpoint said; empty when the work begins anew.

    Raises:
        UserError: If another process is writing it.
        StoreFault: If the disk refuses.
    """

    def __init__(self, path: Path, plan: str) -> None:
        self._path = path
        self._plan = plan
        self._part = path.with_name(f"{path.name}.part")
        self._state = path.with_name(f"{path.name}.part.json")
        self._digest = hashlib.sha256()
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("a+b")
            self._lock()
            self.progress: dict[str, Any] = {}
            self._size = self._kept()
            self._file.truncate(self._size)
            self._read_back()

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; what is not finished stays to be gone on with."""
        self._file.close()

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the records that earlier attempts have written."""
        with disk_errors(self._part), self._part.open("rb") as file:
            for line in file:
                yield orjson.loads(line)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record.

        Raises:
            StoreFault: If the disk refuses.
        """
        line = orjson.dumps(record) + b"\n"
        with disk_errors(self._part):
            self._file.write(line)
        self._digest.update(line)
        self._size += len(line)

    def checkpoint(self, progress: Mapping[str, Any]) -> None:
        """Make sure of what is written so far; ``progress`` comes back to the next attempt.

        Raises:
            StoreFault: If the disk refuses.
        """
        with disk_errors(self._part):
            self._file.flush()
            os.fsync(self._file.fileno())
        state = {"plan": self._plan, "bytes": self._size, "progress": dict(progress)}
        write_text(self._state, orjson.dumps(state).decode())

    def finish(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Put the file in its place and its manifest beside it.

        Returns:
            The manifest, with ``plan``, ``bytes`` and ``sha256`` added.

        Raises:
            StoreFault: If the disk refuses.
        """
        whole = {
            **manifest,
            "plan": self._plan,
            "bytes": self._size,
            "sha256": self._digest.hexdigest(),
        }
        with disk_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            # An old manifest must not vouch for the new file, should this be cut short.
            manifest_path(self._path).unlink(missing_ok=True)
            self._part.replace(self._path)
            sync_directory(self._path.parent)
            text = orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode()
            write_text(manifest_path(self._path), text + "\n")
            self._state.unlink(missing_ok=True)
        return whole

    def discard(self) -> None:
        """Leave nothing behind: the work came to nothing."""
        with disk_errors(self._part):
            self._part.unlink(missing_ok=True)
            self._state.unlink(missing_ok=True)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise UserError(
                f"{self._path}: another process is writing it; wait for it, or name another file."
            ) from None

    def _kept(self) -> int:
        """Return how many bytes of an earlier attempt are known to be right."""
        state = _read_json(self._state)
        if state is None or state.get("plan") != self._plan:
            return 0
        size = state["bytes"]
        if not isinstance(size, int) or self._part.stat().st_size < size:
            return 0
        self.progress = state["progress"]
        return size

    def _read_back(self) -> None:
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            self._digest.update(chunk)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except orjson.JSONDecodeError as error:
        raise StoreFault(
            f"{path}: damaged ({error}); remove it and run the same command"
        ) from error
    return value if isinstance(value, dict) else None
