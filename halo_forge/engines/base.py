"""What an engine is: prompts in, samples out, in whatever order they finish."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from halo_forge.config.sections import GenerationSettings, HardwareSettings, ImageSettings
from halo_forge.core import registry
from halo_forge.core.identity import derive_seed
from halo_forge.core.types import Prompt, Sample
from halo_forge.models.kept import BaseKeeper

__all__ = ["Engine", "EngineSpec", "Request", "open_engine", "request_seed"]


@dataclass(frozen=True, slots=True)
class Request:
    """Samples that are owed for one prompt: their indices, ascending."""

    prompt: Prompt
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Everything an engine is opened with.

    Attributes:
        policy: Model or checkpoint reference, as ``halo_forge.models.load`` resolves it.
        generation: Sampling settings.
        hardware: Device, number format, attention.
        trust_remote_code: Whether hub code may run.
        label: Name of the policy that goes into each sample.
        for_training: Whether the samples are trained on: each must then carry the token ids of
            ``policy``, and be its own. An engine that cannot give that refuses to be made.
        keeper: Lends the base model to engines that load weights in this process.
        images: How the pictures of prompts are read.
    """

    policy: str
    generation: GenerationSettings
    hardware: HardwareSettings
    trust_remote_code: bool = False
    label: str = ""
    for_training: bool = False
    keeper: BaseKeeper | None = None
    images: ImageSettings = field(default_factory=ImageSettings)


@runtime_checkable
class Engine(Protocol):
    """Text out of weights. Opened with ``with``; leaving the block frees the memory.

    A sample depends on the policy, the prompt, the settings, ``seed`` and its index, never on its
    neighbours, the order of requests, or how often the run was interrupted.
    """

    def __enter__(self) -> Self:
        """Load the weights."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the weights."""
        ...

    def generate(self, requests: Iterable[Request], seed: int) -> Iterator[Sample]:
        """Yield one sample for every index of every request, in order of completion.

        It may be called again once it has ended.

        Args:
            requests: What is owed.
            seed: Seed of this pass; each sample derives its own from it.
        """
        ...


def open_engine(spec: EngineSpec) -> Engine:
    """Return the registered engine that ``spec.generation.engine`` names, not yet entered.

    Raises:
        UserError: If there is no such engine, or its settings are wrong.
    """
    engine: Engine = registry.load("engines", spec.generation.engine)(spec)
    return engine


def request_seed(seed: int, prompt: Prompt, index: int) -> int:
    """Return the seed of one sample: its own whatever else is generated."""
    return derive_seed(seed, "sample", prompt.id, index)
