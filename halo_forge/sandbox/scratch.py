"""Directories on the host that a program could write to, and how to be rid of them.

Without `tempfile` and `shutil`: what those import would make every fork of a worker dearer.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

from halo_forge.sandbox.policy import Job

__all__ = ["erase", "new_directory", "place_files"]


def place_files(directory: Path, job: Job) -> None:
    """Write the files of ``job``, readable and executable, into ``directory``."""
    for name, content in job.files.items():
        path = directory / name
        path.write_bytes(content)
        path.chmod(0o555)


def erase(directory: Path) -> None:
    """Remove a tree that a hostile program wrote: unreadable directories, links and all.

    No link is followed; the program that could have swapped one in is dead by now. What is
    nested too deep to be removed stays: a program's litter is not its judge's trouble.

    Raises:
        ValueError: If the path is relative: what it means would depend on the moment.
    """
    if not directory.is_absolute():
        raise ValueError(f"refusing to erase the relative path {str(directory)!r}")
    with contextlib.suppress(OSError, RecursionError):
        _erase(directory)


def _erase(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    path.chmod(0o700)
    for entry in list(path.iterdir()):
        _erase(entry)
    path.rmdir()


def new_directory(parent: Path, prefix: str) -> Path:
    """Make a directory that was not there in ``parent``, which is nobody else's."""
    for number in itertools.count():
        path = parent / f"{prefix}-{number}"
        if not path.exists():
            path.mkdir(mode=0o700)
            return path
    raise AssertionError("numbers do not end")
