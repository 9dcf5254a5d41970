"""The folder of a whole pass over one model: every file name in one place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from halo_forge.core.identity import content_id
from halo_forge.store.run_dir import RunDir

__all__ = ["FullDir"]


@dataclass(frozen=True, slots=True)
class FullDir:
    """Paths of one model's measurements and training.

    Args:
        path: The folder; need not exist yet.
    """

    path: Path

    @classmethod
    def of(cls, output: str, model: str) -> Self:
        """Return the folder of a model within an output folder; two models never share one."""
        name = re.sub(r"[^\w.-]+", "-", model).strip("-.")[-60:]
        return cls(Path(output) / f"{name}-{content_id(model)[:6]}")

    @property
    def baseline(self) -> RunDir:
        """The measurement before training."""
        return RunDir(self.path / "baseline")

    @property
    def raft(self) -> RunDir:
        """The training run."""
        return RunDir(self.path / "raft")

    def final(self, cycles: int) -> RunDir:
        """The measurement after so many cycles of training."""
        return RunDir(self.path / f"final_{cycles}")

    @property
    def load_path(self) -> Path:
        """Readings of the hardware."""
        return self.path / "hardware.csv"

    @property
    def result_path(self) -> Path:
        """Figures before and after, and what differs."""
        return self.path / "full.json"
