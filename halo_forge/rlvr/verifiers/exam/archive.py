"""The exam as one file that an interpreter can run: what goes into the sandbox."""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Mapping
from importlib import resources

from halo_forge.core.identity import content_id
from halo_forge.sandbox import Warm

__all__ = ["exam"]

_NAME = "exam.pyz"

_PACKAGE = "halo_forge.rlvr.verifiers.exam"
_LEFT_OUT = ("__init__", "archive")  # made anew, and not needed inside
_EXAMINER = f"{_PACKAGE}.examiner"
_MAIN = f"import sys\nfrom {_EXAMINER} import main\nmain(sys.argv[1:])\n"
_TIME = (1980, 1, 1, 0, 0, 0)


@functools.cache
def _files() -> Mapping[str, bytes]:
    """Return the modules that run inside, and nothing else of halo-forge, by their paths."""
    parts = _PACKAGE.split(".")
    files = {"/".join([*parts[:depth], "__init__.py"]): b"" for depth in range(1, len(parts) + 1)}
    folder = resources.files(_PACKAGE)
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".py") and file.name.removesuffix(".py") not in _LEFT_OUT:
            files["/".join([*parts, file.name])] = file.read_bytes()
    return files


@functools.cache
def _archive() -> bytes:
    """Return a zip archive with what runs inside, for an interpreter to run."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in [("__main__.py", _MAIN.encode()), *_files().items()]:
            archive.writestr(zipfile.ZipInfo(name, _TIME), content)
    return packed.getvalue()


@functools.cache
def exam(python: str, pytest: str | None) -> Warm:
    """Return what every exam begins with.

    Args:
        python: The interpreter.
        pytest: Folder of packages with pytest, where the tests may need it.
    """
    return Warm(
        key=content_id([python, pytest, _archive().hex()]),
        files=_files(),
        argv=(python, "-B", "-s", _NAME),
        main=f"{_EXAMINER}:main",
        prepare=(f"{_EXAMINER}:prepare", pytest or ""),
        cold={_NAME: _archive()},
    )
