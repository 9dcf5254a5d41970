"""How the judged answers of a cycle become a loss: re-weightings of one journal."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from halo_forge.config.base import NonNegative, Positive, PositiveInt, Section

__all__ = ["AlgorithmSettings"]


class AlgorithmSettings(Section):
    """What is trained on, at which weight, and what it costs a token."""

    algorithm: Literal["raft", "raft++", "reinforce-rej"] = "raft"
    """`raft` trains on the best answers; `raft++` also stops at tokens that have become much
    likelier than when they were sampled; `reinforce-rej` trains on all answers of the prompts that
    have good and bad ones, and makes the bad ones less likely."""

    clip_low: float = Field(0.2, gt=0, lt=1)
    """`reinforce-rej` stops at tokens of bad answers that are less likely by more than this share
    than when they were sampled."""

    clip_high: Positive = 0.2
    """`raft++` and `reinforce-rej` stop at tokens of good answers that are likelier by more than
    this share than when they were sampled."""

    kl_coef: NonNegative = 0.0
    """Weight of the divergence from the start model, which is the model with its adapter off."""

    restart: bool = False
    """Train every cycle from the start model, not from the cycle before (ReST-EM)."""

    prompt_weights: Literal["uniform", "inverse-pass-rate"] = "uniform"
    """Weight of a prompt's answers: all alike, or the more the fewer of them were good."""

    max_per_prompt: PositiveInt | None = None
    """Most answers of one prompt that a cycle trains on, good and bad ones counted apart."""

    distinct: bool = False
    """Train on one answer of each program: layout, comments, texts and names make no other one."""

    temperature_growth: Positive = 1.0
    """Cycle n samples at temperature x temperature_growth^(n-1)."""

    max_temperature: Positive = 1.0
    """Where a growing temperature stops."""
