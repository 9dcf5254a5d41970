"""How settings change from cycle to cycle: pure functions of the cycle's number."""

from __future__ import annotations

from halo_forge.config.algorithm import AlgorithmSettings
from halo_forge.config.raft import TrainingSettings

__all__ = ["learning_rate", "temperature"]


def learning_rate(training: TrainingSettings, cycle: int) -> float:
    """Return ``max(min_lr, learning_rate x lr_decay^(cycle-1))``, ``cycle`` counted from 1."""
    return max(training.min_lr, training.learning_rate * training.lr_decay ** (cycle - 1))


def temperature(first: float, loop: AlgorithmSettings, cycle: int) -> float:
    """Return ``first x temperature_growth^(cycle-1)``, which stops growing at ``max_temperature``.

    Args:
        first: Sampling temperature of the first cycle, which may lie above the bound itself.
        loop: How it grows.
        cycle: Counted from 1.
    """
    grown = first * loop.temperature_growth ** (cycle - 1)
    return min(grown, max(first, loop.max_temperature))
