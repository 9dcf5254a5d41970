"""Whether a run goes on after a cycle: pure functions of its held-out verdicts and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal

from halo_forge.config.steering import StoppingSettings
from halo_forge.rlvr.diversity import PromptRates
from halo_forge.stats import Paired, paired_difference

__all__ = ["Decision", "best_cycle", "decide", "decision_record"]

_Action = Literal["continue", "rollback", "stop"]

_WORDS = {
    "pass_rate": "pass rate",
    "pass_at_k": "share of prompts solved at all",
    "distinct_share": "share of different programs",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows a cycle.

    Attributes:
        action: ``continue``, ``rollback`` (to ``best``) or ``stop``.
        best: The cycle with the highest held-out pass rate of those that had not fallen, the
            earliest of equals; 0 is the policy that the run began with.
        fallen: What is significantly lower than after the best cycle before, with the difference.
        why: One line for people; empty when nothing happened.
    """

    action: _Action
    best: int
    fallen: Mapping[str, Paired]
    why: str


def best_cycle(measured: Mapping[int, PromptRates]) -> int:
    """Return the cycle with the highest mean pass rate, the earliest of equals."""
    means = {cycle: fmean(rates["pass_rate"].values()) for cycle, rates in measured.items()}
    return max(sorted(means), key=lambda cycle: means[cycle])


def decide(
    settings: StoppingSettings, measured: Mapping[int, PromptRates], cycle: int, seed: int
) -> Decision:
    """Return what follows ``cycle``.

    The cycle is compared with the best one before it, paired by prompt: worse is a pass rate, or a
    share of prompts solved at all (pass@k for the largest k), whose 95 % interval lies below 0 with
    a p-value under ``significance``. Fewer different programs count only where the pass rate has
    not surely risen: a model that has learnt says the right thing more often. A cycle that fell is
    never the best, whatever its pass rate: what is solved no more would be forgotten. The best of
    several cycles was lucky in part, so with many cycles a false alarm is likelier than the p-value
    says.

    Args:
        settings: When to stop.
        measured: Rates of the held-out prompts after each cycle up to this one, 0 included.
        cycle: The last of these, from 1.
        seed: Of the resampling.
    """
    start, *later = sorted(measured)
    sound, before = {start: measured[start]}, start
    fallen: dict[str, Paired] = {}
    for number in later:
        before = best_cycle(sound)
        fallen = _fallen(settings, measured[before], measured[number], seed)
        if not fallen:
            sound[number] = measured[number]
    best = best_cycle(sound)
    idle = cycle - best
    action: _Action = "continue"
    why = ""
    if fallen:
        action, why = settings.on_degradation, _fall(fallen, before)
    if settings.plateau and idle >= settings.plateau:
        flat = f"no better held-out pass rate in {idle} cycles since {_called(best)}"
        action, why = "stop", f"{why}; {flat}" if why else flat
    return Decision(action, best, fallen, why)


def decision_record(decision: Decision) -> dict[str, Any]:
    """Return a decision as it stands in a cycle's record."""
    return {
        "action": decision.action,
        "best": decision.best,
        "why": decision.why,
        "fallen": {name: asdict(pair) for name, pair in decision.fallen.items()},
    }


def _fallen(
    settings: StoppingSettings, before: PromptRates, now: PromptRates, seed: int
) -> dict[str, Paired]:
    pairs = {name: _paired(before[name], now[name], seed) for name in _WORDS}
    down = {
        name: pair
        for name, pair in pairs.items()
        if pair.difference.high < 0 and pair.p_value < settings.significance
    }
    rise = pairs["pass_rate"]
    if rise.difference.low > 0 and rise.p_value < settings.significance:
        down.pop("distinct_share", None)
    return down


def _fall(fallen: Mapping[str, Paired], before: int) -> str:
    name, pair = next(iter(fallen.items()))
    change = pair.difference
    return (
        f"held-out {_WORDS[name]} fell by {-100 * change.mean:.1f} points since "
        f"{_called(before)} (95 % interval {-100 * change.high:.1f} to "
        f"{-100 * change.low:.1f}, p = {pair.p_value:.3f})"
    )


def _paired(before: Mapping[str, float], now: Mapping[str, float], seed: int) -> Paired:
    names = sorted(now)
    return paired_difference([before[n] for n in names], [now[n] for n in names], seed)


def _called(cycle: int) -> str:
    return f"cycle {cycle}" if cycle else "the start"
