"""Which answers are trained on: a pure function of verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from fractions import Fraction

from halo_forge.core.identity import derive_seed
from halo_forge.core.types import Sample, TrainingExample, Verdict
from halo_forge.rlvr.programs import program_key

__all__ = ["best_rung", "by_prompt", "eligible", "good_answers", "ranked", "select", "to_example"]


def select(
    verdicts: Iterable[Verdict],
    *,
    threshold: float,
    keep: float,
    seed: int,
    most: int | None = None,
    distinct: bool = False,
) -> list[Verdict]:
    """Keep the best answers of each prompt (RAFT, Dong et al. 2023, arXiv:2304.06767, alg. 1).

    Within one prompt: of the answers that reach ``threshold`` and ended by themselves, the share
    ``keep`` is kept, at least one, and only from the highest reward reached: answers on a lower
    rung are not trained on once a better one exists, be it one that was cut, which is not trained
    on itself. Ties are broken by not-a-duplicate, then shorter, then a seeded hash. The order of
    ``verdicts`` does not matter.

    Args:
        verdicts: Verdicts of one cycle; faults are passed over.
        threshold: Lowest reward kept, in [0, 1].
        keep: Share kept, in (0, 1].
        seed: Seed of the last tie-break.
        most: Most answers kept of one prompt (Singh et al. 2023, arXiv:2312.06585, keep ten).
        distinct: Keep one answer of each program; see `ranked`.

    Returns:
        The kept verdicts, sorted by prompt id and sample index.
    """
    kept = []
    for group in by_prompt(v for v in verdicts if v.result is not None).values():
        # as an exact fraction: 0.7 of 10 answers is 7, which floating point makes 6.999...
        count = max(1, int(Fraction(str(keep)) * sum(eligible(v, threshold) for v in group)))
        best = ranked(good_answers(group, threshold), seed, distinct=distinct)
        kept += best[: count if most is None else min(count, most)]
    return sorted(kept, key=lambda v: (v.sample.prompt.id, v.sample.index))


def to_example(sample: Sample, weight: float = 1.0) -> TrainingExample:
    """Return the tokens that were sampled, with loss on the completion only."""
    return TrainingExample(
        id=sample.id,
        input_ids=sample.prompt_ids + sample.token_ids,
        completion_start=len(sample.prompt_ids),
        logprobs=sample.logprobs,
        weight=weight,
        images=sample.prompt.images,
    )


def eligible(verdict: Verdict, threshold: float) -> bool:
    """Tell whether an answer may be trained on: good enough, and ended by itself."""
    return (
        verdict.result is not None
        and verdict.result.reward >= threshold
        and verdict.sample.finish_reason == "stop"
    )


def good_answers(group: Iterable[Verdict], threshold: float) -> list[Verdict]:
    """Return the answers to one prompt with the highest reward of all, if they may be trained on.

    Args:
        group: Its verdicts; faults are passed over.
        threshold: Lowest reward of a good answer, in [0, 1].
    """
    best = best_rung([verdict for verdict in group if verdict.result is not None])
    return [verdict for verdict in best if eligible(verdict, threshold)]


def by_prompt(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Return the verdicts of each prompt, by its id."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.sample.prompt.id, []).append(verdict)
    return groups


def best_rung(group: Sequence[Verdict]) -> list[Verdict]:
    """Return the judged answers with the highest reward among ``group``."""
    top = max((_reward(verdict) for verdict in group), default=0.0)
    return [verdict for verdict in group if _reward(verdict) == top]


def ranked(group: Sequence[Verdict], seed: int, *, distinct: bool = False) -> list[Verdict]:
    """Return answers of equal worth, those to keep first: not a repeat, shorter, a seeded hash.

    Args:
        group: Answers to one prompt.
        seed: Seed of the last tie-break.
        distinct: Answers that hold the same program (`halo_forge.rlvr.programs`) are repeats, and
            repeats are left out; else those are repeats that differ in white space alone.
    """
    by_length = sorted(
        group, key=lambda v: (len(v.sample.token_ids), derive_seed(seed, "tie", v.sample.id))
    )
    seen: Counter[Hashable] = Counter()
    order: list[tuple[int, int, Verdict]] = []
    for verdict in by_length:
        sample = verdict.sample
        key = program_key(sample) if distinct else " ".join(sample.completion.split())
        order.append((seen[key], len(order), verdict))
        seen[key] += 1
    return [
        verdict
        for repeats, _, verdict in sorted(order, key=lambda item: item[:2])
        if not (distinct and repeats)
    ]


def _reward(verdict: Verdict) -> float:
    assert verdict.result is not None
    return verdict.result.reward
