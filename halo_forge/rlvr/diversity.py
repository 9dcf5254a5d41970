"""How different a policy's answers are, and what it solves at all: pure functions of verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from halo_forge.core.types import Verdict
from halo_forge.rlvr.history import Tallies
from halo_forge.rlvr.programs import program_key
from halo_forge.rlvr.selection import by_prompt
from halo_forge.stats import bootstrap_rate

__all__ = ["PromptRates", "diversity_record", "movement_record", "prompt_rates"]

PromptRates = Mapping[str, Mapping[str, float]]
"""For each of ``pass_rate``, ``pass_at_k`` and ``distinct_share`` a rate for each prompt."""


def prompt_rates(verdicts: Sequence[Verdict]) -> PromptRates:
    """Return what is known of each prompt, by the prompt's id.

    ``pass_rate`` is the share of its answers that pass. ``pass_at_k`` is 1 where any passes: the
    unbiased pass@k for the largest k, all answers (Chen et al. 2021, arXiv:2107.03374,
    equation 1, with n = k). ``distinct_share`` is the share of its answers whose programs differ
    in more than layout, comments and names (`halo_forge.rlvr.programs`).

    Args:
        verdicts: Verdicts; faults are passed over.
    """
    groups = by_prompt(v for v in verdicts if v.result is not None)
    rates: dict[str, dict[str, float]] = {"pass_rate": {}, "pass_at_k": {}, "distinct_share": {}}
    for name, group in sorted(groups.items()):
        passed = [bool(v.result and v.result.success) for v in group]
        rates["pass_rate"][name] = fmean(passed)
        rates["pass_at_k"][name] = float(any(passed))
        rates["distinct_share"][name] = len({program_key(v.sample) for v in group}) / len(group)
    return rates


def diversity_record(verdicts: Sequence[Verdict], rates: PromptRates, seed: int) -> dict[str, Any]:
    """Return a record's figures of diversity.

    ``distinct_programs`` is the mean number of different programs for a prompt; ``pass_at_k`` has
    its ``k``, which is absent where prompts have different numbers of answers, and the rate over
    prompts with its interval.
    """
    counts: dict[str, int] = {}
    for verdict in verdicts:
        if verdict.result is not None:
            name = verdict.sample.prompt.id
            counts[name] = counts.get(name, 0) + 1
    if not counts:
        return {}
    distinct = rates["distinct_share"]
    same = set(counts.values())
    return {
        "distinct_programs": fmean(distinct[name] * count for name, count in counts.items()),
        "distinct_share": fmean(distinct.values()),
        "pass_at_k": {
            "k": same.pop() if len(same) == 1 else None,
            **asdict(bootstrap_rate(list(rates["pass_at_k"].values()), seed)),
        },
    }


def movement_record(now: Tallies, earlier: Mapping[int, Tallies]) -> dict[str, float]:
    """Return which share of a cycle's prompts is solved for the first time, and which is lost.

    Lost is a prompt that some answer solved when it was asked last, and none does now.

    Args:
        now: Tallies of the cycle.
        earlier: Those of the cycles before it.
    """
    if not now:
        return {}
    ever: set[str] = set()
    last: dict[str, bool] = {}
    for number in sorted(earlier):
        last |= {name: tally.passed > 0 for name, tally in earlier[number].items()}
        ever |= {name for name, tally in earlier[number].items() if tally.passed}
    first = sum(tally.passed > 0 and name not in ever for name, tally in now.items())
    lost = sum(tally.passed == 0 and last.get(name, False) for name, tally in now.items())
    return {"solved_first_share": first / len(now), "lost_share": lost / len(now)}
