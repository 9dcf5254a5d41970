"""A worker whose programs see the host's own tree: directories on its disk stand for the box."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from halo_forge.sandbox.cell import Cell, CellSettings
from halo_forge.sandbox.policy import BOX, ENVIRONMENT, Job, Step
from halo_forge.sandbox.scratch import erase, new_directory, place_files
from halo_forge.utils.typing import override

__all__ = ["DirectoryCell"]


class DirectoryCell(Cell):
    """A directory of its own for the box, and a new one for what each run calls ``/tmp``.

    ``/box`` in an argument stands for the directory; nothing else is translated. Programs find
    the other one in ``TMPDIR`` and ``HOME``.
    """

    def __init__(self, settings: CellSettings) -> None:
        self._settings = settings
        self._base = Path(settings.scratch, f"worker-{os.getpid()}")
        self.box = self._base / "box"
        self._scratch = self._base / "tmp"

    @override
    def place(self, job: Job) -> None:
        """Put the files of ``job`` in a new box."""
        self.box = new_directory(self._base, "box")
        place_files(self.box, job)

    def _renew_scratch(self) -> None:
        """Throw away what the last run wrote, and make a new directory for the next."""
        if self._scratch.exists():
            erase(self._scratch)
        self._scratch = new_directory(self._base, "tmp")

    def _environment(self) -> Mapping[str, str]:
        scratch = str(self._scratch)
        return {**ENVIRONMENT, "HOME": scratch, "TMPDIR": scratch}

    def _translated(self, step: Step) -> Step:
        box = str(self.box)
        argv = [
            box + word[len(BOX) :] if word == BOX or word.startswith(BOX + "/") else word
            for word in step.argv
        ]
        return replace(step, argv=tuple(argv))

    @override
    def clear(self) -> None:
        """Throw the box away, and what the last run wrote."""
        erase(self.box)
        erase(self._scratch)

    @override
    def close(self) -> None:
        """Leave nothing behind."""
        erase(self._base)
