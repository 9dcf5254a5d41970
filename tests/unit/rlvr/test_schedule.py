"""The learning rate and the temperature of each cycle."""

from __future__ import annotations

import pytest

from halo_forge.config.algorithm import AlgorithmSettings
from halo_forge.config.raft import TrainingSettings
from halo_forge.rlvr.schedule import learning_rate, temperature


def test_decays_from_the_first_cycle() -> None:
    """The first cycle trains at the full rate, the next ones at 0.85 of the one before."""
    rates = [learning_rate(TrainingSettings(), cycle) for cycle in (1, 2, 3)]
    assert rates == pytest.approx([5e-5, 4.25e-5, 3.6125e-5], rel=1e-12)


def test_never_under_the_floor() -> None:
    """The decay ends at min_lr, and never begins where the rate itself is lower."""
    settings = TrainingSettings(learning_rate=1e-5, lr_decay=0.1, min_lr=2e-6)
    assert [learning_rate(settings, cycle) for cycle in (1, 2, 50)] == [1e-5, 2e-6, 2e-6]


def test_no_decay() -> None:
    """With a decay of 1 every cycle trains alike."""
    settings = TrainingSettings(lr_decay=1)
    assert {learning_rate(settings, cycle) for cycle in range(1, 9)} == {5e-5}


def test_temperature_grows_up_to_its_bound() -> None:
    """Cycle by cycle by the factor; as it is without one, though it lies above the bound."""
    loop = AlgorithmSettings(temperature_growth=1.2)
    heats = [temperature(0.7, loop, cycle) for cycle in (1, 2, 3, 9)]
    assert heats == pytest.approx([0.7, 0.84, 1.0, 1.0])
    assert [temperature(1.3, loop, cycle) for cycle in (1, 2)] == [1.3, 1.3]
    assert [temperature(0.7, AlgorithmSettings(), cycle) for cycle in (1, 9)] == [0.7, 0.7]
