"""The shelf: what many jobs need and each would make anew, made once and then read-only.

The workers of a sandbox share one, empty when the sandbox opens. What lies there was made by a
build of the client's own, on input of the client's own, in a box of its own; programs can read
what they are told the name of, and nothing more: they see a read-only mount of one folder here.

::

    shown/NAME/   what is kept; empty where it could not be made
    used/NAME     its size; changed at each use
    lock-XYZ      held, shared, by who uses what has a name with this end, alone by who makes it
    part-XYZ/     what is being made, not yet or no longer in ``shown``
    room          held by who makes room

A lock is flock(2)'s, so it ends with its holder, and nobody waits for one but for ``room``, which
is held for a moment: who does not get it goes without.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from halo_forge.sandbox.policy import Kept

__all__ = ["SHOWN", "Shelf", "make_folder"]

SHOWN = "shown"
"""The folder that programs may see."""

_USED, _ROOM, _LOCK, _PART = "used", "room", "lock-", "part-"
_SHOWN_MODE = 0o311  # not to be listed: what other answers include is not a program's business
_ENTRIES = 1024
_SPAN = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def make_folder(folder: Path, owner: int | None = None) -> None:
    """Make an empty shelf at ``folder``, unless there is one, for the user ``owner``."""
    for path, mode in ((folder, 0o711), (folder / SHOWN, _SHOWN_MODE), (folder / _USED, 0o700)):
        path.mkdir(exist_ok=True)
        path.chmod(mode)
        if owner is not None:
            os.chown(path, owner, owner)


class Shelf:
    """Results of builds, by key, the longest unused thrown away when room is short.

    Args:
        folder: Made by `make_folder`; need not be reachable by name later.
        place: Where programs see what is shown of it.
        room: Bytes it may hold.
    """

    def __init__(self, folder: Path, place: str, room: int) -> None:
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._place = place
        self._room = room

    @contextlib.contextmanager
    def lend(
        self, kept: Kept, make: Callable[[], AbstractContextManager[Path | None]]
    ) -> Iterator[tuple[str, ...]]:
        """Yield the arguments by which a build uses what is kept, none where it must do without.

        It stays where it is until the context is left.

        Args:
            kept: What is wanted.
            make: Makes it and gives the box that holds it, or None when it cannot be made.
        """
        with self._opened(_LOCK + _end(kept.key)) as lock:
            lent = _locked(lock, fcntl.LOCK_SH) and (
                self._has(kept.key) or self._makes(kept, lock, make)
            )
            yield self._flags(kept) if lent else ()

    def _has(self, key: str) -> bool:
        return _exists(f"{SHOWN}/{key}", self._folder)

    def _flags(self, kept: Kept) -> tuple[str, ...]:
        now = time.time_ns()  # the kernel's own stamps are some milliseconds coarse
        os.utime(f"{_USED}/{kept.key}", ns=(now, now), dir_fd=self._folder)
        if not all(_exists(f"{SHOWN}/{kept.key}/{name}", self._folder) for name in kept.names):
            return ()
        return tuple(flag.replace("{kept}", f"{self._place}/{kept.key}") for flag in kept.flags)

    def _makes(
        self,
        kept: Kept,
        lock: int,
        make: Callable[[], AbstractContextManager[Path | None]],
    ) -> bool:
        """Make what is wanted, unless another worker does; return whether it is there now."""
        if not _locked(lock, fcntl.LOCK_EX):
            return False
        if not self._has(kept.key):
            with make() as box:
                self._take(kept, box)
        # For a moment nobody holds the lock, and what was made may be thrown away.
        return _locked(lock, fcntl.LOCK_SH) and self._has(kept.key)

    def _take(self, kept: Kept, box: Path | None) -> None:
        """Show what a box holds; an empty folder if that is not what was expected."""
        part = _PART + _end(kept.key)
        self._erase(part)
        os.mkdir(part, 0o755, dir_fd=self._folder)
        sizes = [-1] if box is None else [_size(box / name) for name in kept.names]
        with self._opened(_ROOM) as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            if box is not None and min(sizes) >= 0 and self._has_room(sum(sizes)):
                self._fill(part, box, kept.names)
            else:
                sizes = [0]
            self._note(kept.key, sum(sizes))
            self._rename(part, f"{SHOWN}/{kept.key}")

    def _fill(self, part: str, box: Path, names: Sequence[str]) -> None:
        """Copy a result; leave nothing of it where the disk is full."""
        try:
            for name in names:
                self._copy(box / name, f"{part}/{name}")
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._erase(part)
            os.mkdir(part, 0o755, dir_fd=self._folder)

    def _copy(self, source: Path, target: str) -> None:
        reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        writer = os.open(target, flags, 0o444, dir_fd=self._folder)
        try:
            while part := os.read(reader, _SPAN):
                while part:
                    part = part[os.write(writer, part) :]
        finally:
            os.close(reader)
            os.close(writer)

    def _note(self, key: str, size: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        note = os.open(f"{_USED}/{key}", flags, 0o600, dir_fd=self._folder)
        os.write(note, b"%d" % size)
        os.close(note)

    def _has_room(self, size: int) -> bool:
        """Throw away the longest unused until ``size`` fits, as far as it is not in use."""
        if size > self._room:
            return False
        entries = sorted(self._entries())
        total = sum(weight for _, weight, _ in entries)
        for _, weight, key in entries:
            if total + size <= self._room:
                break
            total -= weight * self._throws_away(key)
        return total + size <= self._room

    def _entries(self) -> Iterator[tuple[int, int, str]]:
        """Yield time of last use, weight and key; even what is empty weighs something."""
        used = os.open(_USED, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._folder)
        try:
            for key in os.listdir(used):  # noqa: PTH208 - a descriptor
                note = os.open(key, os.O_RDONLY, dir_fd=used)
                size = int(os.read(note, 32) or b"0")
                yield os.fstat(note).st_mtime_ns, max(size, self._room // _ENTRIES), key
                os.close(note)
        finally:
            os.close(used)

    def _throws_away(self, key: str) -> bool:
        """Throw away what nobody uses; return whether it is gone."""
        end = _end(key)
        with self._opened(_LOCK + end) as lock:
            if not _locked(lock, fcntl.LOCK_EX):
                return False
            self._erase(_PART + end)
            with contextlib.suppress(FileNotFoundError):
                self._rename(f"{SHOWN}/{key}", _PART + end)
            self._erase(_PART + end)
            os.unlink(f"{_USED}/{key}", dir_fd=self._folder)
            return True

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _erase(self, name: str) -> None:
        """Remove a folder of plain files, if it is there."""
        try:
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._folder)
        except FileNotFoundError:
            return
        for entry in os.listdir(folder):  # noqa: PTH208 - a descriptor
            os.unlink(entry, dir_fd=folder)
        os.close(folder)
        os.rmdir(name, dir_fd=self._folder)

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        lock = os.open(name, os.O_RDWR | os.O_CREAT, 0o600, dir_fd=self._folder)
        try:
            yield lock
        finally:
            os.close(lock)


def _locked(lock: int, kind: int) -> bool:
    """Take a lock, or change the one that is held, if nobody stands in the way."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end(key: str) -> str:
    """Return what chooses the lock: so there are not as many locks as keys."""
    return key[-3:]


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _size(path: Path) -> int:
    """Return the size of a regular file, or -1 for anything else."""
    try:
        found = path.lstat()
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1
