"""Where the pictures of a line are, and what tells their content apart; none is decoded here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from halo_forge.core.errors import ConfigError, UserError
from halo_forge.utils.text import did_you_mean

__all__ = ["locate", "pictures_digest"]

_ELSEWHERE = ("data:", "http://", "https://")


def locate(images: Iterable[str], folder: Path) -> tuple[str, ...]:
    """Return the pictures of a line with every file as an absolute path.

    Args:
        images: As the line names them.
        folder: Of the file that the line stands in.

    Raises:
        ConfigError: If a file is not there; the caller knows file and line.
    """
    found = []
    for name in images:
        if name.startswith(_ELSEWHERE):
            found.append(name)
            continue
        try:
            path = (folder / Path(name).expanduser()).absolute()
            is_there = path.is_file()
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError([f"image {name[:60]!r} is no name of a file: {error}"]) from error
        if not is_there:
            near = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
            raise ConfigError(
                [f"there is no image {path}.{did_you_mean(path.name, near)} Its name is read from "
                 "the folder of this file"]
            )  # fmt: skip
        found.append(str(path))
    return tuple(found)


def pictures_digest(images: Iterable[str]) -> list[str]:
    """Return what tells each picture's content: of a file its bytes, else the address itself.

    Raises:
        UserError: If a file cannot be read.
    """
    return [name if name.startswith(_ELSEWHERE) else _file_digest(Path(name)) for name in images]


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"image {path}: cannot be read: {error.strerror}") from error
