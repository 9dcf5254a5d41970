"""The shelf: what many jobs need and each would make anew, made once and then read-only.

A worker has one, empty when it starts. What lies there was made by a build of the client's own, on
input of the client's own, in a box of its own; programs can read it and nothing more.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from halo_forge.sandbox.policy import Kept
from halo_forge.sandbox.scratch import erase

__all__ = ["Shelf"]

_REMEMBERED = 4096
_SPAN = 1 << 20


class Shelf:
    """Results of builds, by key, the longest unused thrown away when room is short.

    Args:
        place: Directory of the shelf, for the worker and for programs.
        room: Bytes it may hold.
    """

    def __init__(self, place: Path, room: int) -> None:
        self._place = place
        self._room = room
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._asked: OrderedDict[str, int] = OrderedDict()

    def flags(self, kept: Kept, make: Callable[[], Path | None]) -> tuple[str, ...]:
        """Return the arguments by which a build uses what is kept, none while it is not there.

        It is made when it is asked for the second time, since most is never asked for again.

        Args:
            kept: What is wanted.
            make: Makes it and returns the box that holds it, or None when it cannot be made.
        """
        if kept.key in self._sizes:
            self._sizes.move_to_end(kept.key)
        elif not self._asked_again(kept.key) or not self._take(kept, make()):
            return ()
        place = str(self._place / kept.key)
        return tuple(flag.replace("{kept}", place) for flag in kept.flags)

    def _asked_again(self, key: str) -> bool:
        """Count a request; true for the second one only, so that a failure is not repeated."""
        times = self._asked[key] = self._asked.get(key, 0) + 1
        self._asked.move_to_end(key)
        if len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)
        return times == 2

    def _take(self, kept: Kept, box: Path | None) -> bool:
        if box is None:
            return False
        sizes = [_size(box / name) for name in kept.names]
        if min(sizes) < 0 or sum(sizes) > self._room:
            return False
        while self._sizes and sum(self._sizes.values()) + sum(sizes) > self._room:
            erase(self._place / self._sizes.popitem(last=False)[0])
        folder = self._place / kept.key
        folder.mkdir(mode=0o755)
        for name in kept.names:
            _copy(box / name, folder / name)
        self._sizes[kept.key] = sum(sizes)
        return True


def _size(path: Path) -> int:
    """Return the size of a regular file, or -1 for anything else."""
    try:
        found = path.lstat()
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def _copy(source: Path, target: Path) -> None:
    reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    try:
        while part := os.read(reader, _SPAN):
            os.write(writer, part)
    finally:
        os.close(reader)
        os.close(writer)
