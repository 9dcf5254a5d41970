"""Figures of runs and benchmarks as tables of text; pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from halo_forge.report.grid import Grid
from halo_forge.report.records import Cycle, Heldout, Run
from halo_forge.stats import Estimate, Paired

__all__ = [
    "before_after",
    "benchmark_effort",
    "benchmark_grid",
    "categories_grid",
    "cycles_grid",
    "difference_text",
    "interval_text",
    "p_text",
    "runs_grid",
    "settings_grid",
]

_NONE = "-"
_RATES = {
    "compile_rate": "compile rate",
    "pass_rate": "full-pass rate",
    "hidden_pass_rate": "hidden-test pass rate",
}


def before_after(cycles: Sequence[Cycle]) -> Grid | None:
    """Compare the first with the last held-out evaluation; None without two of them."""
    measured = [(cycle.cycle, cycle.heldout) for cycle in cycles if cycle.heldout is not None]
    if len(measured) < 2:
        return None
    (start, first), (end, last) = measured[0], measured[-1]
    rows = (_change(name, key, first, last) for key, name in _RATES.items())
    title = (
        f"Held-out: {last.pass_rate.units} prompts, {last.samples} answers; "
        "95 % intervals over prompts, differences paired, in points"
    )
    header = ("", _when(start), _when(end), "difference", "p")
    return Grid(header, tuple(row for row in rows if row), title)


def _change(name: str, key: str, first: Heldout, last: Heldout) -> tuple[str, ...] | None:
    old, new = first.rate(key), last.rate(key)
    if old is None or new is None:
        return None
    paired = last.differences.get(key)
    known = (difference_text(paired), p_text(paired.p_value)) if paired else (_NONE, _NONE)
    return (name, interval_text(old), interval_text(new), *known)


def cycles_grid(cycles: Iterable[Cycle]) -> Grid:
    """Return one row a cycle."""
    rows = []
    for cycle in cycles:
        held = cycle.heldout
        rows.append(
            (
                str(cycle.cycle) if cycle.cycle else _when(0),
                _count(cycle.total_samples),
                _percent(cycle.compile_rate),
                _percent(cycle.success_rate),
                _count(cycle.kept),
                _NONE if cycle.avg_reward is None else f"{cycle.avg_reward:.3f}",
                _count(cycle.faults),
                interval_text(held.compile_rate) if held else _NONE,
                interval_text(held.pass_rate) if held else _NONE,
                _seconds(cycle.generation_seconds),
                _seconds(cycle.judging_seconds),
                _seconds(cycle.training_seconds),
            )
        )
    header = (
        "cycle",
        "samples",
        "compile",
        "pass",
        "kept",
        "reward",
        "faults",
        "held-out compile",
        "held-out pass",
        "generate",
        "verify",
        "train",
    )
    return Grid(header, tuple(rows))


def runs_grid(runs: Iterable[Run]) -> Grid:
    """Return one row a run."""
    rows = []
    for run in runs:
        ends = run.measured
        first, last = (ends[0].heldout, ends[-1].heldout) if ends else (None, None)
        rows.append(
            (
                str(run.path),
                str(run.config.get("model.name", _NONE)),
                str(run.config.get("verifier.type", _NONE))
                + (f" (CONTROL {run.control})" if run.control else ""),
                f"{run.done}/{run.planned}",
                interval_text(first.pass_rate) if first else _NONE,
                interval_text(last.pass_rate) if last else _NONE,
            )
        )
    header = ("run", "model", "verifier", "cycles", "held-out before", "held-out last")
    return Grid(header, tuple(rows), wide=True)


def settings_grid(values: Mapping[str, Any], sources: Mapping[str, str]) -> Grid:
    """Return one row a setting with the source of its value."""
    rows = ((key, _word(value), sources.get(key, "default")) for key, value in values.items())
    return Grid(("key", "value", "source"), tuple(rows), wide=True)


def benchmark_grid(result: Mapping[str, Any]) -> Grid:
    """Return pass@k and compile@k of a benchmark result with their intervals.

    Args:
        result: What a benchmark wrote; ``pass_at_k`` and ``compile_at_k`` map k to an estimate.
    """
    rows = [(name, interval_text(rate)) for name, rate in _benchmark_rates(result)]
    return Grid(("", "rate, 95 % interval over prompts"), tuple(rows))


def categories_grid(result: Mapping[str, Any]) -> Grid | None:
    """Return the same for each category, a row each; None where problems have none."""
    groups = result["by_category"]
    if len(groups) < 2:
        return None
    names = [name for name, _ in _benchmark_rates(result)]
    rows = (
        (name, str(group["prompts"]), *(interval_text(rate) for _, rate in _benchmark_rates(group)))
        for name, group in groups.items()
    )
    return Grid(("category", "problems", *names), tuple(rows))


def benchmark_effort(result: Mapping[str, Any]) -> str:
    """Say how answers were drawn and judged, how long they are and what they took."""
    n, tokens, timing = result["samples_per_prompt"], result["tokens"], result["timing"]
    how = "greedy: the likeliest answer to each" if result["mode"] == "greedy" else (
        f"sampled: {n} answer{'s' if n > 1 else ''} to each"
    )  # fmt: skip
    cut = f", {tokens['cut']} cut at the limit" if tokens["cut"] else ""
    untested = (
        f"NO TEST judged {result['untested']} of the answers that pass: that they compile, or run "
        "to their end, is all that is known.\n"
        if result["untested"]
        else ""
    )
    return untested + (
        f"{result['prompts']} problems, {how}; {tokens['generated']} tokens "
        f"({tokens['mean']:.0f} an answer{cut}).\n"
        f"Last attempt: {timing['tokens_generated']} tokens in "
        f"{timing['generation_seconds']:.1f} s of generating, judging lengthened it by "
        f"{timing['verification_added_seconds']:.1f} s, {timing['total_seconds']:.1f} s in all."
    )


def _benchmark_rates(figures: Mapping[str, Any]) -> list[tuple[str, Estimate]]:
    rates = TypeAdapter(dict[int, Estimate])
    rows = []
    for key, name in (("compile_at_k", "compile@"), ("pass_at_k", "pass@")):
        found = rates.validate_python(figures[key])
        rows += [(f"{name}{k}", rate) for k, rate in sorted(found.items())]
    return rows


def interval_text(rate: Estimate) -> str:
    """Return a rate and its interval: `41.2% [35.0, 47.9]`."""
    return f"{rate.mean:.1%} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def difference_text(change: Paired) -> str:
    """Return a difference in percentage points and its interval: `+12.5 [+4.0, +20.9]`."""
    points = change.difference
    return f"{100 * points.mean:+.1f} [{100 * points.low:+.1f}, {100 * points.high:+.1f}]"


def p_text(p_value: float) -> str:
    """Return a p-value without claiming more digits than it has."""
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _when(cycle: int) -> str:
    return f"after cycle {cycle}" if cycle else "before"


def _word(value: Any) -> str:
    """Write a setting as a YAML file would."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1%}"


def _count(value: int | None) -> str:
    return _NONE if value is None else str(value)


def _seconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.0f} s"
