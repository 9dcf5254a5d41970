"""On disk whole or not at all: temporary name, flush to the device, rename.

A rename within a directory is atomic (rename(2)); the data is forced out before it and the
directory after it (fsync(2)), so a power cut leaves the old content or the new, never a mixture.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from halo_forge.core.errors import StoreFault

__all__ = [
    "disk_errors",
    "lend",
    "replace_directory",
    "settle",
    "sync_directory",
    "write_lines",
    "write_text",
]

_TEMPORARY = ".tmp-"


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` while writing below ``path`` into one clear `StoreFault`.

    Raises:
        StoreFault: With the reason; a full disk says how to go on.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "no space left; free some and run the same command again, nothing is lost"
        raise StoreFault(f"{path}: {reason}") from error


def sync_directory(path: Path) -> None:
    """Force a directory's entries to the device (fsync(2))."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``, whole or not at all.

    What an interrupted attempt left behind is removed first.

    Raises:
        StoreFault: If the disk refuses.
    """
    write_lines(path, [text.encode()])


def write_lines(path: Path, lines: Iterable[bytes]) -> int:
    """Replace ``path`` by lines as they come, whole or not at all, and return how many.

    Raises:
        StoreFault: If the disk refuses.
    """
    count = 0
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in _leftovers(path):
            leftover.unlink(missing_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}{_TEMPORARY}")
        try:
            with os.fdopen(handle, "wb") as file:
                for line in lines:
                    file.write(line)
                    count += 1
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)  # mkstemp makes files that nobody else may read
            Path(name).replace(path)
            sync_directory(path.parent)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return count


def lend(source: Path, target: Path) -> bool:
    """Copy a file that is there to a place where none is; return whether it was copied.

    Raises:
        StoreFault: If one cannot be read or the other not be written.
    """
    if target.exists() or not source.exists():
        return False
    with disk_errors(source), source.open("rb") as lines:
        write_lines(target, lines)
    return True


@contextlib.contextmanager
def replace_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory that becomes ``path`` when the block ends well.

    What an interrupted attempt left behind is removed first. ``path`` itself must not exist.

    Raises:
        StoreFault: If the disk refuses.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in _leftovers(path):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{path.name}{_TEMPORARY}"))
        try:
            yield temporary
            settle(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def settle(temporary: Path, path: Path) -> None:
    """Force a directory's content to the device and give it its name, which must be free."""
    _sync_tree(temporary)
    temporary.chmod(0o755)
    temporary.rename(path)
    sync_directory(path.parent)


def _leftovers(path: Path) -> list[Path]:
    """Return what a killed process left beside ``path``."""
    return list(path.parent.glob(f"{glob.escape(path.name)}{_TEMPORARY}*"))


def _sync_tree(root: Path) -> None:
    for path in [*root.rglob("*"), root]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
