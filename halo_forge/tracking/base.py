"""What a run tells while it runs: figures to trackers, progress to an observer.

Trackers are mirrors for machines (one record a step); an observer is for the person who waits.
Neither can change a result, and a run without either is the same run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from halo_forge.utils.typing import override

__all__ = ["NullObserver", "Observer", "Stage", "StageClock", "Tracker"]


class Tracker(Protocol):
    """Takes the figures of a run, step by step.

    Names that people know are used: ``reward``, ``pass_rate``, ``compile_rate``,
    ``kept_fraction``, ``unique_fraction``, ``frac_reward_zero_std``,
    ``completions/mean_length``, ``completions/clipped_ratio``, ``tokens_per_s``, ``step_time``,
    ``learning_rate``, ``eval/pass_rate``, ``eval/compile_rate``.
    """

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record ``values`` for ``step`` (the cycle, from 0 for the baseline)."""
        ...

    def close(self) -> None:
        """Write what is pending and let go of every file."""
        ...


class Stage(Protocol):
    """A piece of work that an observer follows."""

    def advance(self, n: int = 1, **info: float) -> None:
        """Say that ``n`` more units are done; may be called from any thread.

        Args:
            n: Units finished since the last call.
            info: Latest figures to show beside the progress, such as ``pass_rate=0.4``;
                names ending in ``rate`` or ``fraction`` are shown as a percentage.
        """
        ...


class Observer(Protocol):
    """Shows a person what a run does."""

    def message(self, text: str) -> None:
        """Show one line of text."""
        ...

    def stage(
        self, name: str, total: int | None, done: int = 0, unit: str = ""
    ) -> AbstractContextManager[Stage]:
        """Follow a piece of work until the ``with`` block ends; stages may overlap.

        Args:
            name: Short name: ``generate``, ``verify``, ``train``.
            total: Units in all, those done earlier included; None when unknown.
            done: Units that an earlier attempt has finished.
            unit: Name of a unit in the plural: ``samples``, ``steps``.
        """
        ...


class NullObserver:
    """Shows nothing: for tests, notebooks and ``--progress none``."""

    def message(self, text: str) -> None:
        """Ignore ``text``."""

    def advance(self, n: int = 1, **info: float) -> None:
        """Ignore the progress."""

    @contextmanager
    def stage(
        self,
        name: str,
        total: int | None,
        done: int = 0,
        unit: str = "",
    ) -> Iterator[Stage]:
        """Follow nothing."""
        yield self


class StageClock(NullObserver):
    """Times the stages called ``name``, and shows nothing.

    Attributes:
        seconds: Wall-clock seconds of the last of them.
        cpu: CPU seconds of this process meanwhile.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.seconds = self.cpu = 0.0

    @contextmanager
    @override
    def stage(self, name: str, total: int | None, done: int = 0, unit: str = "") -> Iterator[Stage]:
        """Time what happens within."""
        started, used = time.perf_counter(), time.process_time()
        yield self
        if name == self._name:
            self.seconds = time.perf_counter() - started
            self.cpu = time.process_time() - used
