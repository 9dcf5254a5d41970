"""How settings change from cycle to cycle: pure functions of the cycle's number."""

from __future__ import annotations

from halo_forge.config.raft import TrainingSettings

__all__ = ["learning_rate"]


def learning_rate(training: TrainingSettings, cycle: int) -> float:
    """Return ``max(min_lr, learning_rate x lr_decay^(cycle-1))``, ``cycle`` counted from 1."""
    return max(training.min_lr, training.learning_rate * training.lr_decay ** (cycle - 1))
