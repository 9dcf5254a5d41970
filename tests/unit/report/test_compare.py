"""Runs stand side by side, with what differs between them."""

from __future__ import annotations

from pathlib import Path

from halo_forge.report.compare import (
    compare_grids,
    labels,
    settings_differ_grid,
    settings_difference,
)
from halo_forge.report.records import read_run
from tests.fakes import make_verdict
from tests.run_directory import make_run


def _verdicts(*rewards: float) -> list:
    return [make_verdict(f"p{i}", 0, reward) for i, reward in enumerate(rewards)]


def test_side_by_side(tmp_path: Path) -> None:
    """A row a cycle, a column a run; what a run does not have is a dash."""
    held = {0: _verdicts(0, 0, 1, 0), 1: _verdicts(1, 0, 1, 1)}
    one = make_run(tmp_path / "one", {1: _verdicts(1, 0.5, 0, 0)}, held)
    other = make_run(tmp_path / "other", {1: _verdicts(1, 1), 2: _verdicts(1, 0)}, seed=4)
    grids = {grid.title: grid for grid in compare_grids([read_run(one), read_run(other)])}

    passed = grids["Held-out full-pass rate, 95 % intervals over prompts"]
    assert passed.header == ("cycle", "A", "B")
    assert [(row[0], row[1][:5], row[2]) for row in passed.rows] == [
        ("before", "25.0%", "-"),
        ("1", "75.0%", "-"),
    ]
    assert grids["Pass rate of training answers"].rows == (
        ("1", "25.0%", "100.0%"),
        ("2", "-", "50.0%"),
    )
    assert grids["Kept for training"].rows == (("1", "1", "2"), ("2", "-", "1"))
    assert "Held-out hidden-test pass rate" not in grids


def test_settings_that_differ(tmp_path: Path) -> None:
    """Only those; where a run lies is none of them."""
    runs = [
        read_run(make_run(tmp_path / name, {1: _verdicts(1)}, **settings))
        for name, settings in (("a", {}), ("b", {"seed": 3}), ("c", {}))
    ]
    assert settings_difference(runs) == {"seed": [0, 3, 0]}
    assert settings_differ_grid(runs).rows == (("seed", "0", "3", "0"),)
    assert settings_difference(runs[::2]) == {}
    assert labels(runs * 10)[-1] == "30"
