"""Reward threshold and kept share of a cycle: pure functions of settings and earlier records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from halo_forge.config.raft import LoopSettings
from halo_forge.config.steering import ShapingSettings

__all__ = ["Bar", "shaped"]

_LOOSER, _STRICTER = (-0.1, 0.1), (0.1, -0.05)
_LEAST, _MOST = 0.1, 1.0
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """What an answer must reach.

    Attributes:
        threshold: Lowest reward that can be trained on.
        keep: Share of a prompt's answers at or above it that is kept.
    """

    threshold: float
    keep: float


def shaped(
    settings: ShapingSettings, loop: LoopSettings, cycle: int, records: Sequence[Mapping[str, Any]]
) -> Bar:
    """Return the bar of a cycle.

    ``annealing`` goes in a straight line from the lenient bar in cycle 1 to that of ``loop`` in
    cycle ``settings.cycles``; ``warmup`` is lenient up to and with that cycle; ``adaptive`` begins
    with the bar of ``loop`` and after each cycle lowers it (threshold -0.1, share +0.1: few answers
    kept or few that pass) or raises it (threshold +0.1, share -0.05: many that pass), within
    0.1 and 1.

    Args:
        settings: How it changes.
        loop: The values that the user gave.
        cycle: The cycle, from 1.
        records: Records of the cycles before it, for ``adaptive``; others are passed over.
    """
    base = Bar(loop.reward_threshold, loop.keep_top_percent)
    lenient = Bar(settings.lenient_threshold, settings.lenient_keep)
    if settings.kind == "annealing":
        way = min(1.0, (cycle - 1) / (settings.cycles - 1)) if settings.cycles > 1 else 1.0
        return Bar(
            _between(lenient.threshold, base.threshold, way), _between(lenient.keep, base.keep, way)
        )
    if settings.kind == "warmup" and cycle <= settings.cycles:
        return lenient
    if settings.kind == "adaptive":
        for record in records:
            if 0 < record["cycle"] < cycle:
                base = _adapted(settings, base, record)
    return base


def _adapted(settings: ShapingSettings, bar: Bar, record: Mapping[str, Any]) -> Bar:
    passing = record["success_rate"] or 0.0
    if record["kept"] < settings.few or passing < settings.low:
        step = _LOOSER
    elif passing > settings.high:
        step = _STRICTER
    else:
        return bar
    return Bar(_within(bar.threshold + step[0]), _within(bar.keep + step[1]))


def _within(value: float) -> float:
    return round(min(max(value, _LEAST), _MOST), _DIGITS)


def _between(start: float, end: float, way: float) -> float:
    return round(start + (end - start) * way, _DIGITS)
