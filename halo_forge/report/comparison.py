"""A comparison of measurements as a table, as sentences, and as a document; pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from halo_forge.benchmark.compare import Comparison, Moved
from halo_forge.report.grid import Grid
from halo_forge.report.tables import difference_text, interval_text, p_text

__all__ = ["comparison_grid", "comparison_record", "moved_lines", "sentence"]

_LISTED = 20


def comparison_grid(comparisons: Sequence[Comparison], rate: str) -> Grid:
    """Return one row for the baseline and one for each that is compared with it.

    Args:
        comparisons: All with the same baseline.
        rate: What is compared, ``pass`` or ``compile``.
    """
    first = comparisons[0]
    rows = [(first.baseline.name, first.baseline.model, interval_text(first.before), "", "")]
    for one in comparisons:
        change = (difference_text(one.change), p_text(one.change.p_value))
        rows.append((one.other.name, one.other.model, interval_text(one.after), *change))
    title = (
        f"{rate}@{first.k}: {first.change.difference.units} problems, {first.baseline.samples} "
        "answers to each; 95 % intervals over problems, differences paired, in points"
    )
    return Grid(("", "model", f"{rate}@{first.k}", "difference", "p"), tuple(rows), title)


def sentence(comparison: Comparison) -> str:
    """Say in a sentence what the difference is, what it shows, and what it could not show."""
    change, low = comparison.change.difference, comparison.change.smallest_shown
    problems = f"{change.units} problem{'s' if change.units != 1 else ''}"
    found = (
        f"{100 * change.mean:+.1f} points, 95 % interval {100 * change.low:.1f} to "
        f"{100 * change.high:.1f}, {problems}"
    )
    if low is None:
        return f"{found}; {problems} cannot show a difference, whatever it is: 6 are the fewest"
    meaning = "" if comparison.is_shown else ": no difference is shown"
    return f"{found}{meaning}; {problems} cannot show less than {100 * low:.1f} points"


def moved_lines(comparison: Comparison) -> list[str]:
    """Return the problems gained and lost, as many as a person reads, and what else differs."""
    better = sum(one.after > one.before for one in comparison.moved)
    worse = len(comparison.moved) - better
    lines = [f"Better on {better} problems, worse on {worse}."]
    lines += _listed("Gained (none solved it, now some)", comparison.gained, comparison)
    lines += _listed("Lost (some solved it, now none)", comparison.lost, comparison)
    if comparison.differs:
        lines.append(f"Settings that differ: {', '.join(comparison.differs)}.")
    return lines


def comparison_record(comparison: Comparison, rate: str) -> dict[str, Any]:
    """Return a JSON-serialisable record with everything that a comparison says."""
    n = comparison.baseline.samples
    return {
        "baseline": comparison.baseline.name,
        "baseline_model": comparison.baseline.model,
        "other": comparison.other.name,
        "other_model": comparison.other.model,
        "rate": f"{rate}@{comparison.k}",
        "samples_per_prompt": n,
        "before": asdict(comparison.before),
        "after": asdict(comparison.after),
        "difference": asdict(comparison.change.difference),
        "p_value": comparison.change.p_value,
        "shown": comparison.is_shown,
        "smallest_shown": comparison.change.smallest_shown,
        "sentence": sentence(comparison),
        "gained": [one.problem for one in comparison.gained],
        "lost": [one.problem for one in comparison.lost],
        "moved": [asdict(one) for one in comparison.moved],
        "settings_that_differ": {key: list(pair) for key, pair in comparison.differs.items()},
    }


def _listed(title: str, moved: Sequence[Moved], comparison: Comparison) -> list[str]:
    if not moved:
        return []
    n = comparison.baseline.samples
    shown = [f"{one.problem} {one.before}/{n} -> {one.after}/{n}" for one in moved[:_LISTED]]
    if len(moved) > _LISTED:
        shown.append(f"and {len(moved) - _LISTED} more (--json names all)")
    return [f"{title}: {len(moved)}", *(f"  {line}" for line in shown)]
