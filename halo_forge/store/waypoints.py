"""States of a training phase to go on from: each a folder that exists whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from halo_forge.store.atomic import disk_errors, settle

__all__ = ["Waypoints"]

_PREFIX = "step_"
_STAGING = ".tmp-step_"


@dataclass(frozen=True, slots=True)
class Waypoints:
    """The states of one training phase, by optimiser step.

    Args:
        path: Folder that holds them; need not exist yet.
    """

    path: Path

    def at(self, step: int) -> Path:
        """Return the folder of the state after ``step`` optimiser steps."""
        return self.path / f"{_PREFIX}{step}"

    def staging(self, step: int) -> Path:
        """Return where that state is written before it is complete; every process the same."""
        return self.path / f"{_STAGING}{step}"

    def steps(self) -> list[int]:
        """Return the steps whose states are complete, ascending."""
        names = [path.name.removeprefix(_PREFIX) for path in self.path.glob(f"{_PREFIX}*")]
        return sorted(int(name) for name in names if name.isdecimal())

    @property
    def last(self) -> Path | None:
        """The latest complete state."""
        steps = self.steps()
        return self.at(steps[-1]) if steps else None

    def begin(self, step: int) -> Path:
        """Make the empty folder for a state, without what an interrupted attempt left.

        Raises:
            StoreFault: If the disk refuses.
        """
        folder = self.staging(step)
        with disk_errors(self.path):
            for leftover in self.path.glob(f"{_STAGING}*"):
                shutil.rmtree(leftover)
            folder.mkdir(parents=True)
        return folder

    def publish(self, step: int, keep: Collection[int]) -> None:
        """Make the state complete, then delete all others but those of ``keep``.

        Raises:
            StoreFault: If the disk refuses.
        """
        with disk_errors(self.path):
            _delete(self.at(step))
            settle(self.staging(step), self.at(step))
            for old in self.steps():
                if old != step and old not in keep:
                    _delete(self.at(old))

    def clear(self) -> None:
        """Delete every state: the result is there.

        Raises:
            StoreFault: If the disk refuses.
        """
        with disk_errors(self.path):
            for step in self.steps():
                _delete(self.at(step))
            if self.path.exists():
                shutil.rmtree(self.path)


def _delete(folder: Path) -> None:
    """Delete a state; a kill halfway leaves nothing that looks like one."""
    if folder.exists():
        doomed = folder.with_name(f"{_STAGING}{folder.name}")
        if doomed.exists():
            shutil.rmtree(doomed)
        folder.rename(doomed)
        shutil.rmtree(doomed)
