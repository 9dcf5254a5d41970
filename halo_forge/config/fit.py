"""Settings of gradient steps, whatever they are taken on."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from halo_forge.config.base import Positive, PositiveInt, Section, Switch

__all__ = ["FitSettings"]


class FitSettings(Section):
    """What the learner needs to know of a training phase."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset(
        {"dataloader_num_workers", "dataloader_pin_memory"}
    )

    epochs: PositiveInt = 1
    """Passes over the answers."""

    batch_size: PositiveInt = 2
    """Answers in one forward pass."""

    gradient_accumulation_steps: PositiveInt = 16
    """Forward passes in one optimiser step."""

    packing: Switch = "auto"
    """Answers of a forward pass lie end to end, without padding; `auto` where the model was seen
    to keep them apart, else answers of like length go together."""

    lr_scheduler: Literal["constant", "linear", "cosine"] = "linear"
    """Course of the learning rate within the phase."""

    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    """Share of the phase's optimiser steps that warms up."""

    max_grad_norm: Positive = 1.0
    """Gradients are clipped to this norm."""

    dataloader_num_workers: int = Field(0, ge=0)
    """Data-loader processes; 0 on unified memory."""

    dataloader_pin_memory: bool = False
    """Page-locked host memory; off on unified memory."""
