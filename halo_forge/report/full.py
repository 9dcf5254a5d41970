"""What a whole pass did to models, as a table and as documents; pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from halo_forge.benchmark.full import FullResult
from halo_forge.report.comparison import comparison_record, sentence
from halo_forge.report.grid import Grid
from halo_forge.report.tables import difference_text, interval_text, p_text

__all__ = ["full_grid", "full_record", "full_sentences"]


def full_grid(results: Sequence[FullResult]) -> Grid:
    """Return one row a model and rate: before, after, the paired difference, and the time."""
    rows = []
    for result in results:
        for rate, change in result.changes.items():
            minutes = sum(result.seconds.values()) / 60
            rows.append(
                (
                    result.model,
                    f"{rate}@{change.k}",
                    interval_text(change.before),
                    interval_text(change.after),
                    difference_text(change.change),
                    p_text(change.change.p_value),
                    f"{minutes:.1f} min",
                )
            )
    cycles = results[0].cycles
    after = f"after {cycles} cycle{'s' * (cycles > 1)}"
    header = ("model", "", "before", after, "difference", "p", "time")
    return Grid(header, tuple(rows), "Held out; 95 % intervals over prompts, differences in points")


def full_sentences(results: Sequence[FullResult]) -> list[str]:
    """Say of each model and rate what the difference shows."""
    return [
        f"{result.model}, {rate}: {sentence(change)}."
        for result in results
        for rate, change in result.changes.items()
    ]


def full_record(result: FullResult) -> dict[str, Any]:
    """Return a JSON-serialisable record of everything about one model."""
    return {
        "model": result.model,
        "cycles": result.cycles,
        "folder": str(result.folder),
        "seconds": dict(result.seconds),
        **{rate: comparison_record(change, rate) for rate, change in result.changes.items()},
    }
