"""An engine in a process of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from halo_forge.core.types import Sample
from halo_forge.engines.base import EngineSpec, Request, open_engine
from halo_forge.models.stage_process import StageProcess, Tell

__all__ = ["IsolatedEngine"]


class IsolatedEngine:
    """The engine of ``spec``, opened in a child process that ends with the ``with`` block.

    Samples are the same as without. A pass that is not read to its end leaves the engine unusable.

    Args:
        spec: Its keeper is not used: nothing is kept in memory from one stage to the next.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._process = StageProcess("generation", _serve, replace(spec, keeper=None))
        self._told: Iterator[Sample | None] = iter(())

    def __enter__(self) -> Self:
        """Start the process and wait until the weights are loaded."""
        self._process.__enter__()
        self._told = iter(self._process)
        try:
            next(self._told)
        except BaseException as error:
            self._process.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self._process.__exit__(kind, error, trace)

    def generate(self, requests: Iterable[Request], seed: int) -> Iterator[Sample]:
        """Yield a sample for every owed index, as the engine does."""
        self._process.send((list(requests), seed))
        for sample in self._told:
            if sample is None:
                return
            yield sample


def _serve(tell: Tell, inbox: Iterator[tuple[list[Request], int]], spec: EngineSpec) -> None:
    """Open the engine, say so with None, and end each pass with None."""
    with open_engine(spec) as engine:
        tell(None)
        for requests, seed in inbox:
            for sample in engine.generate(requests, seed):
                tell(sample)
            tell(None)
