"""Settings that steer a RAFT run from cycle to cycle."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from halo_forge.config.base import Fraction, PositiveInt, Section

__all__ = ["Control", "CurriculumSettings", "ShapingSettings", "StoppingSettings"]

Control = Literal["none", "unverified", "shuffled", "compile-only"]


class CurriculumSettings(Section):
    """Which prompts a cycle has."""

    kind: Literal["none", "complexity", "progressive", "adaptive", "historical"] = "none"
    """`none`: all; `complexity`: one share after the other, easy ones first, then all;
    `progressive`: the easiest share, one more with every cycle; `adaptive`: one more or one less by
    the success rate; `historical`: as `progressive`, easy by earlier runs' pass rates."""

    share: Fraction = 0.2
    """Size of a share of the prompts. Easy is what the prompt's `difficulty` says (3 when absent),
    then a shorter text."""

    up: float = Field(0.7, ge=0, le=1)
    """`adaptive`: above this success rate of a cycle the share grows."""

    down: float = Field(0.2, ge=0, le=1)
    """`adaptive`: below this success rate of a cycle it shrinks, at the least to one share."""

    history: tuple[str, ...] = ()
    """`historical`: run directories whose journals tell how often each prompt was solved."""

    retire_at: Fraction | None = None
    """A prompt whose answers passed at this rate in its last cycle has no more; never if absent."""

    retry_after: int = Field(0, ge=0)
    """A prompt that no answer of its last cycle solved rests for so many cycles."""


class ShapingSettings(Section):
    """How the reward threshold and the kept share change from cycle to cycle."""

    kind: Literal["fixed", "annealing", "adaptive", "warmup"] = "fixed"
    """`fixed`: as in `raft`; `annealing`: from lenient to those; `warmup`: lenient at first;
    `adaptive`: by how many answers were kept and how many pass."""

    lenient_threshold: float = Field(0.1, ge=0, le=1)
    """Reward threshold of a lenient cycle."""

    lenient_keep: Fraction = 0.8
    """Kept share of a lenient cycle."""

    cycles: PositiveInt = 3
    """`annealing`: cycle after which the values of `raft` hold; `warmup`: lenient cycles."""

    few: PositiveInt = 50
    """`adaptive`: with fewer kept answers than this the next cycle is more lenient."""

    low: float = Field(0.15, ge=0, le=1)
    """`adaptive`: so it is with a lower success rate than this."""

    high: float = Field(0.45, ge=0, le=1)
    """`adaptive`: with a higher success rate than this the next cycle is stricter."""


class StoppingSettings(Section):
    """When a run ends before its last cycle; judged by the held-out prompts."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset({"plateau"})

    on_degradation: Literal["stop", "rollback", "continue"] = "stop"
    """When the held-out prompts do significantly worse than after the best cycle: end the run, go
    on from the best cycle's checkpoint, or go on all the same."""

    significance: float = Field(0.05, gt=0, lt=1)
    """p-value below which worse is significantly worse; the 95 % interval must be off 0 too."""

    plateau: int = Field(3, ge=0)
    """End after so many cycles without a better held-out pass rate than before; 0 never does."""
