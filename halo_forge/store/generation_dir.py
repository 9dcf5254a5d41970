"""The folder of a topic's generated data: every file name in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from halo_forge.store.run_dir import RunDir

__all__ = ["GenerationDir"]


@dataclass(frozen=True, slots=True)
class GenerationDir:
    """Paths of one topic's data.

    Args:
        path: The folder; need not exist yet.
    """

    path: Path

    @classmethod
    def of(cls, output: str, topic: str) -> Self:
        """Return the folder of a topic within an output folder."""
        return cls(Path(output) / topic)

    @property
    def answers_path(self) -> Path:
        """Journal of what the server said, by request."""
        return self.path / "answers.jsonl"

    @property
    def checks_path(self) -> Path:
        """Journal of what came of the checks, by request and judge."""
        return self.path / "checks.jsonl"

    @property
    def training_path(self) -> Path:
        """Verified items as chats to train on."""
        return self.path / "training.jsonl"

    @property
    def prompts_path(self) -> Path:
        """The same items as prompts with their tests."""
        return self.path / "prompts.jsonl"

    @property
    def rejects_path(self) -> Path:
        """Answers that give no data, with the reason."""
        return self.path / "rejects.jsonl"

    @property
    def manifest_path(self) -> Path:
        """What the files hold and where it comes from."""
        return self.path / "manifest.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process until the ``with`` block ends.

        Raises:
            UserError: If another process works in it.
        """
        with RunDir(self.path).lock():
            yield
