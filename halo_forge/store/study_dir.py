"""The folder of a study: every file name in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from halo_forge.store.atomic import disk_errors

__all__ = ["StudyDir"]


@dataclass(frozen=True, slots=True)
class StudyDir:
    """Paths of one study.

    Args:
        path: The folder; need not exist yet.
    """

    path: Path

    def arm_path(self, arm: str, seed: int) -> Path:
        """Run directory of an arm with a seed."""
        return self.path / f"seed_{seed}" / arm

    def tuning_path(self, seed: int) -> Path:
        """Run directory of the fine-tuning that the arm ``sft`` measures."""
        return self.path / f"seed_{seed}" / "sft_training"

    @property
    def references_path(self) -> Path:
        """Training prompts that have a reference solution, with it."""
        return self.path / "references.jsonl"

    @property
    def result_path(self) -> Path:
        """What the study found."""
        return self.path / "study.json"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process that writes this folder's own files; wait for another.

        Seeds may run beside each other, each run in a directory of its own.

        Raises:
            StoreFault: If the folder cannot be made.
        """
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
