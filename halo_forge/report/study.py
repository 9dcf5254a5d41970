"""A study as a table, a sentence and a document; pure functions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from halo_forge.benchmark.compare import Comparison
from halo_forge.benchmark.study import ArmResult, Study
from halo_forge.report.grid import Grid
from halo_forge.report.tables import difference_text, interval_text, p_text

__all__ = ["rates_told", "seeds_grid", "study_grid", "study_record", "study_sentence"]

_WORDS = {"pass": "full-pass rate", "compile": "compile rate"}
_CONTROLS = ("unverified", "shuffled", "compile-only", "sft")


def rates_told(study: Study) -> list[str]:
    """Return the rates worth a table: not one that says of questions what another says already."""
    told: list[str] = []
    seen: list[list[Any]] = []
    for rate, results in study.results.items():
        figures = [(one.gain.before, one.gain.after, one.gain.change) for one in results]
        if figures not in seen:
            told.append(rate)
            seen.append(figures)
    return told


def study_grid(study: Study, rate: str) -> Grid:
    """Return one row for the start and one for each arm.

    Args:
        study: What was found.
        rate: ``pass`` or ``compile``.
    """
    results = study.results[rate]
    first = results[0].gain
    rows = [("before training", interval_text(first.before), "", "", "", "")]
    for one in results:
        part = one.verifiers
        own = ("", "") if part is None else (difference_text(part.change), _p(part))
        gain = (difference_text(one.gain.change), _p(one.gain))
        rows.append((one.arm, interval_text(one.gain.after), *gain, *own))
    title = (
        f"Held-out {_WORDS[rate]}: {first.change.difference.units} prompts, "
        f"{first.baseline.samples} answers to each from {_seeds(study)}; 95 % intervals over "
        "prompts, differences paired, in points"
    )
    header = ("arm", "rate", "gain", "p", "verified minus this", "p")
    return Grid(header, tuple(rows), title)


def seeds_grid(study: Study, rate: str) -> Grid:
    """Return each arm's gain in every seed, which no interval speaks of, and what it sampled.

    Args:
        study: What was found.
        rate: ``pass`` or ``compile``.
    """
    header = ("arm", *(f"gain, seed {seed}" for seed in study.seeds), "tokens sampled")
    rows = tuple(
        (one.arm, *(f"{100 * one.by_seed[seed]:+.1f}" for seed in study.seeds), f"{one.tokens:,}")
        for one in study.results[rate]
    )
    return Grid(header, rows, f"By seed: {_WORDS[rate]}, in points")


def study_sentence(study: Study, rate: str) -> str:
    """Say in a sentence how much of the verified gain is the verifier's.

    It is held against the first control there is of unverified, shuffled, compile-only and sft.
    """
    results = {one.arm: one for one in study.results[rate]}
    verified = results["verified"]
    control = next(results[name] for name in _CONTROLS if name in results)
    prompts = verified.gain.change.difference.units
    gain = verified.gain.change.difference.mean
    start = f"Of {100 * gain:+.1f} points of held-out {_WORDS[rate]}"
    if not verified.gain.is_shown:
        start = f"No gain is shown: {100 * gain:+.1f} points of held-out {_WORDS[rate]}"
    without = f"{control.arm} alone gives {100 * control.gain.change.difference.mean:+.1f}"
    return f"{start}, {without}; {_part(control)}: {prompts} prompts, {_seeds(study)}"


def study_record(study: Study) -> dict[str, Any]:
    """Return a JSON-serialisable record of everything that a study found."""
    return {
        "seeds": list(study.seeds),
        "rates": {
            rate: {
                "sentence": study_sentence(study, rate),
                "before": asdict(results[0].gain.before),
                "arms": [_arm(one) for one in results],
            }
            for rate, results in study.results.items()
        },
        "ended_early": dict(study.ended),
    }


def _part(control: ArmResult) -> str:
    assert control.verifiers is not None
    part, change = control.verifiers, control.verifiers.change.difference
    interval = f"95 % interval {100 * change.low:+.1f} to {100 * change.high:+.1f}"
    if part.is_shown and change.mean > 0:
        return f"{100 * change.mean:.1f} points are the verifier's ({interval})"
    if part.is_shown:
        return f"with the verifier it is {-100 * change.mean:.1f} points worse ({interval})"
    least = part.change.smallest_shown
    could = "so few prompts show nothing" if least is None else f"{100 * least:.1f} would be shown"
    beyond = f"beyond {control.arm} no part is shown to be the verifier's"
    return f"{beyond} ({interval}; {could})"


def _arm(one: ArmResult) -> dict[str, Any]:
    part = one.verifiers
    return {
        "arm": one.arm,
        "rate": asdict(one.gain.after),
        "gain": _change(one.gain),
        "gain_by_seed": {str(seed): gain for seed, gain in one.by_seed.items()},
        "tokens_sampled": one.tokens,
        "verified_above_it": None if part is None else _change(part),
    }


def _change(one: Comparison) -> dict[str, Any]:
    return {
        **asdict(one.change.difference),
        "p_value": one.change.p_value,
        "shown": one.is_shown,
        "smallest_shown": one.change.smallest_shown,
    }


def _p(one: Comparison) -> str:
    return p_text(one.change.p_value)


def _seeds(study: Study) -> str:
    return f"{len(study.seeds)} seed{'s' if len(study.seeds) != 1 else ''}"
