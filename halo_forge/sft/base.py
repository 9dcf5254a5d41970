"""What a learner is: kept answers in, a better checkpoint out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from halo_forge.config.fit import FitSettings
from halo_forge.config.sections import HardwareSettings, ImageSettings, LoraSettings
from halo_forge.config.sft import QloraSettings
from halo_forge.core.types import TrainingExample
from halo_forge.store.waypoints import Waypoints
from halo_forge.tracking.base import Observer, Tracker

__all__ = ["FitReport", "FitRequest", "Learner", "Objective", "Validation"]


@dataclass(frozen=True, slots=True)
class Validation:
    """What a training phase is watched by; the weights of the lowest loss are those that stay.

    Attributes:
        examples: Scored after each epoch, never trained on.
        patience: Epochs without a lower loss after which training ends; None: never.
    """

    examples: Sequence[TrainingExample]
    patience: int | None = None


@dataclass(frozen=True, slots=True)
class Objective:
    """What a completion token costs; the formulas are in `halo_forge.sft.objectives`.

    Attributes:
        ratio: The clipped ratio to the probability it was sampled with counts, else its negative
            log-likelihood.
        clip_low: How far below 1 a ratio may fall before a bad answer's token is let be.
        clip_high: How far above 1 a ratio may rise before a good answer's token is let be.
        kl_coef: Weight of the divergence from the model with its adapter off.
        temperature: Divides the logits: that of the sampling where ratios count.
    """

    ratio: bool
    clip_low: float
    clip_high: float
    kl_coef: float
    temperature: float = 1.0


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
        card: Writes the checkpoint's model card, when there is to be one.
        validation: Examples that are scored after each epoch, if any.
        waypoints: Where states to go on from are kept; a phase that finds one goes on from it.
            None: a phase that is interrupted begins anew.
        save_steps: Optimiser steps between two of them; the end of an epoch has one too. Needed
            where there are waypoints.
        qlora: How frozen weights are quantised, if they are.
        trackers: Told the figures of each step.
        objective: What a token costs; None: its negative log-likelihood, in every answer alike.
        images: How the pictures of examples are read.
    """

    policy: str
    output: Path
    learning_rate: float
    seed: int
    training: FitSettings
    lora: LoraSettings
    hardware: HardwareSettings
    trust_remote_code: bool
    meta: Mapping[str, Any]
    card: Callable[[FitReport], str] | None = None
    validation: Validation | None = None
    waypoints: Waypoints | None = None
    save_steps: int | None = None
    qlora: QloraSettings | None = None
    trackers: Sequence[Tracker] = ()
    objective: Objective | None = None
    images: ImageSettings = field(default_factory=ImageSettings)


@dataclass(frozen=True, slots=True)
class FitReport:
    """What a training phase did.

    Attributes:
        steps: Optimiser steps.
        loss: Mean loss a completion token over the phase.
        grad_norm: Mean norm of the gradients before clipping.
        entropy: Mean entropy of the model over the completion tokens, nats.
        tokens: Completion tokens with loss, counted once an epoch.
        seconds: Wall time of this attempt, loading and saving included.
        losses: Loss of each optimiser step, those of earlier attempts included.
        eval_losses: (step, mean loss a validation token) after each epoch.
        best_step: Optimiser step whose weights were kept.
        figures: What an objective tells beside, by name.
    """

    steps: int
    loss: float
    grad_norm: float
    entropy: float
    tokens: int
    seconds: float
    losses: tuple[float, ...] = ()
    eval_losses: tuple[tuple[int, float], ...] = ()
    best_step: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


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
