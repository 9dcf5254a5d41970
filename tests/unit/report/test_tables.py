"""Tables hold the figures, and nothing in them can drive the terminal."""

from __future__ import annotations

import pytest

from halo_forge.report.grid import Grid, rendered
from halo_forge.report.records import Cycle, Heldout
from halo_forge.report.tables import (
    before_after,
    benchmark_grid,
    cycles_grid,
    difference_text,
    interval_text,
    p_text,
    settings_grid,
)
from halo_forge.stats import Estimate, Paired


def _heldout(rate: float, **differences: Paired) -> Heldout:
    estimate = Estimate(rate, rate - 0.1, rate + 0.1, 40)
    return Heldout(samples=160, compile_rate=estimate, pass_rate=estimate, differences=differences)


BASELINE = Cycle(cycle=0, heldout=_heldout(0.3))
PAIRED = Paired(Estimate(0.45, 0.36, 0.53, 40), 0.0001)
TRAINED = Cycle(
    cycle=1,
    total_samples=1120,
    compile_rate=0.4,
    success_rate=0.125,
    kept=80,
    avg_reward=0.3333,
    faults=2,
    generation_seconds=300.4,
    verification_seconds=40.0,
    training_seconds=61.0,
    heldout=_heldout(0.75, compile_rate=PAIRED),
)


def test_texts() -> None:
    """Rates, differences and p-values in the form people quote."""
    assert interval_text(Estimate(0.4123, 0.35, 0.479, 40)) == "41.2% [35.0, 47.9]"
    assert difference_text(PAIRED) == "+45.0 [+36.0, +53.0]"
    assert (p_text(0.0004), p_text(0.04)) == ("<0.001", "0.040")


def test_before_and_after() -> None:
    """The last evaluation stands beside the first, with the paired difference."""
    grid = before_after([BASELINE, TRAINED, Cycle(cycle=2)])

    assert grid is not None
    assert grid.header == ("", "before", "after cycle 1", "difference", "p")
    assert grid.rows == (
        (
            "compile rate",
            "30.0% [20.0, 40.0]",
            "75.0% [65.0, 85.0]",
            "+45.0 [+36.0, +53.0]",
            "<0.001",
        ),
        ("full-pass rate", "30.0% [20.0, 40.0]", "75.0% [65.0, 85.0]", "-", "-"),
    )
    assert "40 prompts, 160 answers" in grid.title


@pytest.mark.parametrize("cycles", [[], [BASELINE], [Cycle(cycle=1)]])
def test_nothing_to_compare(cycles: list[Cycle]) -> None:
    """Without two evaluations there is no comparison."""
    assert before_after(cycles) is None


def test_cycles() -> None:
    """A row a cycle; what a cycle does not have is a dash."""
    before, first = cycles_grid([BASELINE, TRAINED]).rows

    assert before[:8] == ("before", "-", "-", "-", "-", "-", "-", "30.0% [20.0, 40.0]")
    assert first[:7] == ("1", "1120", "40.0%", "12.5%", "80", "0.333", "2")
    assert first[-3:] == ("300 s", "40 s", "61 s")


def test_settings_are_written_as_in_a_file() -> None:
    """null, true and lists, not None, True and tuples; what has no source is a default."""
    grid = settings_grid({"a": None, "b": True, "c": ["x"], "d": "text"}, {"a": "--a"})

    assert grid.rows == (
        ("a", "null", "--a"),
        ("b", "true", "default"),
        ("c", '["x"]', "default"),
        ("d", "text", "default"),
    )


def test_benchmark() -> None:
    """compile@k and pass@k are apart, in the order of k."""
    rate = {"mean": 0.5, "low": 0.4, "high": 0.6, "units": 9}

    grid = benchmark_grid({"pass_at_k": {"10": rate, "1": rate}, "compile_at_k": {"1": rate}})

    assert [row[0] for row in grid.rows] == ["compile@1", "pass@1", "pass@10"]


def test_text_of_others_is_harmless() -> None:
    """Markup stays markup, escape sequences are replaced."""
    text = rendered(Grid(("a", "b"), (("[bold]x[/bold]", "\x1b[31m"),), "title \x07"), 60)

    assert text == "title �\na                   b\n[bold]x[/bold]  �[31m"


def test_narrow_terminal_loses_nothing() -> None:
    """Long cells are folded, not cut."""
    text = rendered(Grid(("key", "value"), (("k", "x" * 50),), wide=True), 20)

    assert text.count("x") == 50
    assert max(map(len, text.splitlines())) <= 20
