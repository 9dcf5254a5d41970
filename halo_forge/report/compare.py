"""Runs side by side: rates by cycle, and the settings that differ; pure functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from halo_forge.report.grid import Grid
from halo_forge.report.records import Cycle, Run
from halo_forge.report.tables import interval_text

__all__ = ["compare_grids", "labels", "names_grid", "settings_differ_grid", "settings_difference"]

_NONE = "-"
_DIGITS = 12
_PLACES = ("output_dir",)
"""Settings that say where a run lies, not what it is."""

_Cell = Callable[[Cycle], str]


def _rate(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1%}"


def _heldout(key: str) -> _Cell:
    def cell(cycle: Cycle) -> str:
        rate = cycle.heldout.rate(key) if cycle.heldout is not None else None
        return _NONE if rate is None else interval_text(rate)

    return cell


_FIGURES: Mapping[str, _Cell] = {
    "Held-out full-pass rate, 95 % intervals over prompts": _heldout("pass_rate"),
    "Held-out compile rate": _heldout("compile_rate"),
    "Held-out hidden-test pass rate": _heldout("hidden_pass_rate"),
    "Pass rate of training answers": lambda cycle: _rate(cycle.success_rate),
    "Compile rate of training answers": lambda cycle: _rate(cycle.compile_rate),
    "Kept for training": lambda cycle: _NONE if cycle.kept is None else str(cycle.kept),
}


def labels(runs: Sequence[Run]) -> list[str]:
    """Return a short name for each run: A, B, ...; numbers when there are more than letters."""
    if len(runs) <= len(ascii_uppercase):
        return list(ascii_uppercase[: len(runs)])
    return [str(number) for number in range(1, len(runs) + 1)]


def names_grid(runs: Sequence[Run]) -> Grid:
    """Return which short name is which run."""
    rows = tuple(
        (label, str(run.path), f"{run.done} of {run.planned} cycles")
        for label, run in zip(labels(runs), runs, strict=True)
    )
    return Grid(("run", "directory", "done"), rows, wide=True)


def compare_grids(runs: Sequence[Run]) -> list[Grid]:
    """Return one grid a figure, a row a cycle, a column a run; figures that no run has are out."""
    cycles = [{cycle.cycle: cycle for cycle in run.cycles} for run in runs]
    numbers = sorted({number for run in cycles for number in run})
    grids = []
    for title, cell in _FIGURES.items():
        rows = []
        for number in numbers:
            texts = [cell(run[number]) if number in run else _NONE for run in cycles]
            if any(text != _NONE for text in texts):
                rows.append((str(number) if number else "before", *texts))
        if rows:
            grids.append(Grid(("cycle", *labels(runs)), tuple(rows), title))
    return grids


def settings_difference(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return each setting that is not the same in all runs, with its value in each.

    The contents of prompts and models and the verifier's fingerprint, which a run directory
    guards, are settings too.
    """
    settings = [{**run.config, **run.info.get("guarded", {})} for run in runs]
    keys = sorted(set().union(*settings) - set(_PLACES))
    values = {key: [one.get(key) for one in settings] for key in keys}
    return {key: found for key, found in values.items() if any(v != found[0] for v in found)}


def settings_differ_grid(runs: Sequence[Run]) -> Grid:
    """Return one row a setting that differs."""
    rows = tuple((key, *map(_word, values)) for key, values in settings_difference(runs).items())
    return Grid(("setting", *labels(runs)), rows, "Settings that differ", wide=True)


def _word(value: Any) -> str:
    if value is None:
        return _NONE
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    is_digest = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:_DIGITS] if is_digest else text
