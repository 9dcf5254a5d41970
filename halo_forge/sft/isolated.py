"""A learner in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

from halo_forge.config.sections import LoraSettings
from halo_forge.core.types import TrainingExample
from halo_forge.models.stage_process import StageProcess, Tell
from halo_forge.sft.base import FitReport, FitRequest
from halo_forge.sft.learner import TrlLearner
from halo_forge.tracking.base import Observer, Stage

__all__ = ["IsolatedLearner"]


class IsolatedLearner:
    """Trains in a child process, with the same result as `TrlLearner`; progress is shown here.

    It is for requests without a card and trackers, which are of this process.
    """

    def check(self, policy: str, lora: LoraSettings, *, trust_remote_code: bool) -> None:
        """Find a wrong layer name early; see `halo_forge.sft.base.Learner`."""
        TrlLearner().check(policy, lora, trust_remote_code=trust_remote_code)

    def fit(
        self, examples: Sequence[TrainingExample], request: FitRequest, observer: Observer
    ) -> FitReport:
        """Train on ``examples`` and write the checkpoint; see `halo_forge.sft.base.Learner`."""
        stages: dict[int, tuple[ExitStack, Stage]] = {}
        report: FitReport | None = None
        with (
            StageProcess("training", _fit, tuple(examples), request) as process,
            ExitStack() as opened,
        ):
            for word, *values in process:
                match word:
                    case "message":
                        observer.message(*values)
                    case "open":
                        key, *what = values
                        stack = opened.enter_context(ExitStack())
                        stages[key] = stack, stack.enter_context(observer.stage(*what))
                    case "advance":
                        key, n, info = values
                        stages[key][1].advance(n, **info)
                    case "shut":
                        stages[values[0]][0].close()
                    case _:
                        (report,) = values
        if report is None:
            raise AssertionError("a training process that ended well has a report")
        return report


class _Teller:
    """An observer in the child that hands on what it is told."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._keys = count()

    def message(self, text: str) -> None:
        self._tell(("message", text))

    @contextmanager
    def stage(self, name: str, total: int | None, done: int = 0, unit: str = "") -> Iterator[Stage]:
        key = next(self._keys)
        self._tell(("open", key, name, total, done, unit))
        try:
            yield _Stage(self._tell, key)
        finally:
            self._tell(("shut", key))


class _Stage:
    def __init__(self, tell: Tell, key: int) -> None:
        self._tell = tell
        self._key = key

    def advance(self, n: int = 1, **info: float) -> None:
        self._tell(("advance", self._key, n, info))


def _fit(
    tell: Tell, inbox: Iterator[Any], examples: Sequence[TrainingExample], request: FitRequest
) -> None:
    del inbox
    tell(("report", TrlLearner().fit(examples, request, _Teller(tell))))
