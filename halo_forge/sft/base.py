"""What a learner is: kept answers in, a better checkpoint out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from halo_forge.config.raft import TrainingSettings
from halo_forge.config.sections import HardwareSettings, LoraSettings
from halo_forge.core.types import TrainingExample
from halo_forge.tracking.base import Observer

__all__ = ["FitReport", "FitRequest", "Learner"]


@dataclass(frozen=True, slots=True)
class FitRequest:
    """One training phase.

    Attributes:
        policy: Model or checkpoint to go on from.
        output: Folder of the new checkpoint; appears whole or not at all.
        learning_rate: Peak learning rate of this phase.
        seed: Seed of shuffling, dropout and fresh adapters.
        training: Batch size, epochs, schedule.
        lora: Adapters, or all weights.
        hardware: Device and number format.
        trust_remote_code: Whether hub code may run.
        meta: Stored in the checkpoint.
    """

    policy: str
    output: Path
    learning_rate: float
    seed: int
    training: TrainingSettings
    lora: LoraSettings
    hardware: HardwareSettings
    trust_remote_code: bool
    meta: dict[str, str | int | float]


@dataclass(frozen=True, slots=True)
class FitReport:
    """What a training phase did.

    Attributes:
        steps: Optimiser steps.
        loss: Mean loss a completion token over the phase.
        grad_norm: Mean norm of the gradients before clipping.
        entropy: Mean entropy of the model over the completion tokens, nats.
        tokens: Completion tokens with loss, counted once an epoch.
        seconds: Wall time, loading and saving included.
    """

    steps: int
    loss: float
    grad_norm: float
    entropy: float
    tokens: int
    seconds: float


class Learner(Protocol):
    """Takes gradient steps."""

    def check(self, policy: str, lora: LoraSettings, *, trust_remote_code: bool) -> None:
        """Find out before hours of sampling whether ``policy`` can be trained as ``lora`` says.

        Raises:
            UserError: If it lacks the layers that adapters are to be put on.
            ModelFault: If the model cannot be had.
        """
        ...

    def fit(
        self, examples: Sequence[TrainingExample], request: FitRequest, observer: Observer
    ) -> FitReport:
        """Train on ``examples`` and write the checkpoint ``request.output``.

        Raises:
            ModelFault: If the policy cannot be loaded.
            StoreFault: If the checkpoint cannot be written.
        """
        ...
