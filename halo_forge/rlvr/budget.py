"""How many answers a prompt gets: waves, and the rule that ends them. Pure functions.

The probability p that an answer to a prompt is accepted is unknown. With a uniform prior and s of n
answers accepted its posterior is Beta(1 + s, 1 + n - s) (Gelman et al., Bayesian Data Analysis, 3rd
edition, section 2.4). After each whole wave a prompt ends when

- ``enough`` answers are accepted,
- it is very likely *solved*: P(p > solved_rate) >= confidence,
- it is very likely *hopeless*: P(p < hopeless_rate) >= confidence, or
- its budget is *spent*.

Decisions depend on the verdicts of the prompt's own earlier waves and on nothing else, so a run
that was killed decides like one that was not. Because easy prompts end early, the mean over all
answers no longer estimates the mean over prompts: held-out rates and pass@k use fixed budgets.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from halo_forge.config.raft import AdaptiveSettings
from halo_forge.core.types import Verdict
from halo_forge.rlvr.selection import eligible

__all__ = ["Budget", "End", "Quota", "chance_below", "end_after", "quota", "savings"]

End = Literal["enough", "solved", "hopeless", "spent"]


@dataclass(frozen=True, slots=True)
class Quota:
    """How many answers a prompt is to have, as far as the verdicts tell.

    Attributes:
        count: Answers, from index 0.
        end: Why no more follow; None while verdicts on these may ask for more.
    """

    count: int
    end: End | None


@dataclass(frozen=True, slots=True)
class Budget:
    """An adaptive budget.

    Attributes:
        settings: Size of the waves and what ends them.
        threshold: Reward at which an answer that ended by itself is accepted.
    """

    settings: AdaptiveSettings
    threshold: float

    def quota(self, verdicts: Iterable[Verdict], limit: int) -> Quota:
        """Return what a prompt with these verdicts is to have, ``limit`` answers at most."""
        accepted = {v.sample.index: eligible(v, self.threshold) for v in verdicts}
        return quota(accepted, limit, self.settings)


def quota(accepted: Mapping[int, bool], limit: int, settings: AdaptiveSettings) -> Quota:
    """Return how many answers a prompt is to have.

    Args:
        accepted: For each judged answer's index whether it is accepted. Only whole waves from
            index 0 count.
        limit: Most answers.
        settings: Size of the waves and what ends them.
    """
    count = min(settings.wave, limit)
    while all(index in accepted for index in range(count)):
        end = end_after(sum(accepted[i] for i in range(count)), count, limit, settings)
        if end is not None:
            return Quota(count, end)
        count = min(count + settings.wave, limit)
    return Quota(count, None)


def end_after(accepted: int, drawn: int, limit: int, settings: AdaptiveSettings) -> End | None:
    """Return why a prompt ends with ``accepted`` of ``drawn`` answers, or None if it goes on."""
    if accepted >= settings.enough:
        return "enough"
    if 1 - chance_below(settings.solved_rate, accepted, drawn) >= settings.confidence:
        return "solved"
    if chance_below(settings.hopeless_rate, accepted, drawn) >= settings.confidence:
        return "hopeless"
    return "spent" if drawn >= limit else None


def chance_below(rate: float, accepted: int, drawn: int) -> float:
    """Return P(p < rate) after ``accepted`` of ``drawn`` answers, under a uniform prior of p.

    It is the chance of more than ``accepted`` successes in ``drawn + 1`` draws at ``rate``
    (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.5.24).
    """
    draws = drawn + 1
    return math.fsum(
        math.comb(draws, k) * rate**k * (1 - rate) ** (draws - k)
        for k in range(accepted + 1, draws + 1)
    )


def savings(verdicts: Sequence[Verdict], ends: Sequence[End | None], limit: int) -> dict[str, Any]:
    """Return what an adaptive budget saved against ``limit`` answers to each prompt.

    Args:
        verdicts: Of all answers.
        ends: For each prompt why it has no more of them.
        limit: Answers to each prompt without the budget.

    Returns:
        ``samples_saved``, ``prompt_ends`` (how many prompts ended why), and ``tokens_saved``, an
        estimate: an answer that was not drawn counts as long as its prompt's mean answer.
    """
    lengths: dict[str, list[int]] = {}
    for verdict in verdicts:
        lengths.setdefault(verdict.sample.prompt.id, []).append(verdict.sample.length)
    saved = sum((limit - len(group)) * sum(group) / len(group) for group in lengths.values())
    counts = Counter(ends)
    return {
        "samples_saved": len(ends) * limit - len(verdicts),
        "tokens_saved": round(saved),
        "prompt_ends": {end: counts[end] for end in get_args(End)},
    }
