"""The exam as one file that an interpreter can run: what goes into the sandbox."""

from __future__ import annotations

import functools
import io
import zipfile
from importlib import resources

__all__ = ["exam_archive"]

_PACKAGE = "halo_forge.rlvr.verifiers.exam"
_MODULES = ("candidate", "examiner", "standin", "styles", "wire")
_MAIN = f"from {_PACKAGE}.examiner import main\nmain()\n"
_TIME = (1980, 1, 1, 0, 0, 0)


@functools.cache
def exam_archive() -> bytes:
    """Return a zip archive with the modules that run inside, and nothing else of halo-forge."""
    parts = _PACKAGE.split(".")
    files = {"__main__.py": _MAIN}
    files |= {"/".join([*parts[:depth], "__init__.py"]): "" for depth in range(1, len(parts) + 1)}
    folder = resources.files(_PACKAGE)
    for module in _MODULES:
        files["/".join([*parts, f"{module}.py"])] = (folder / f"{module}.py").read_text("utf-8")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, _TIME), text)
    return packed.getvalue()
