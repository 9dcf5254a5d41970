"""Directories on the host that a program could write to, and how to be rid of them.

Without `tempfile` and `shutil`: what those import would make every fork of a worker dearer.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from pathlib import Path

from halo_forge.sandbox.policy import Job

__all__ = ["erase", "new_directory", "place_files"]


def place_files(directory: Path, job: Job, *, cold: bool = True) -> None:
    """Write the files of ``job``, readable and executable, into ``directory``.

    Args:
        directory: The box.
        job: The job.
        cold: Whether its runs are started cold.
    """
    needed = job.warm.cold if cold and job.warm is not None else {}
    for name, content in (*job.files.items(), *needed.items()):
        path = directory / name
        path.write_bytes(content)
        path.chmod(0o555)


def erase(directory: Path) -> None:
    """Remove a tree that a hostile program wrote: unreadable directories, links, any depth.

    No link is followed; the program that could have swapped one in is dead by now. What cannot be
    removed stays: a program's litter is not its judge's trouble.

    Raises:
        ValueError: If the path is relative: what it means would depend on the moment.
    """
    if not directory.is_absolute():
        raise ValueError(f"refusing to erase the relative path {str(directory)!r}")
    with contextlib.suppress(OSError):
        _erase(os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY), directory.name)


def _erase(here: int, name: str) -> None:
    """Remove ``name`` from the directory behind a descriptor, and close that.

    One descriptor at a time, and no recursion: a tree may be deeper than any path is long.
    """
    waiting = [[name]]
    entered: list[str] = []
    try:
        while waiting:
            if waiting[-1]:
                name = waiting[-1].pop()
                if _unlink(here, name):
                    continue
                here = _step(here, name)
                entered.append(name)
                waiting.append(os.listdir(here))  # noqa: PTH208 - a descriptor
            else:
                waiting.pop()
                if entered:
                    here = _step(here, "..")
                    os.rmdir(entered.pop(), dir_fd=here)
    finally:
        os.close(here)


def _unlink(folder: int, name: str) -> bool:
    """Remove what is no directory; open the way into what is."""
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        os.chmod(name, 0o700, dir_fd=folder)
        return False
    os.unlink(name, dir_fd=folder)
    return True


def _step(folder: int, name: str) -> int:
    there = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    os.close(folder)
    return there


def new_directory(parent: Path, prefix: str) -> Path:
    """Make a directory that was not there in ``parent``, which is nobody else's."""
    for number in itertools.count():
        path = parent / f"{prefix}-{number}"
        if not path.exists():
            path.mkdir(mode=0o700)
            return path
    raise AssertionError("numbers do not end")
