"""Which answers are trained on: a pure function of verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction

from halo_forge.core.identity import derive_seed
from halo_forge.core.types import Sample, TrainingExample, Verdict

__all__ = ["eligible", "select", "to_example"]


def select(
    verdicts: Iterable[Verdict], *, threshold: float, keep: float, seed: int
) -> list[Verdict]:
    """Keep the best answers of each prompt (RAFT, Dong et al. 2023, arXiv:2304.06767, alg. 1).

    Within one prompt: of the answers that reach ``threshold`` and ended by themselves, the share
    ``keep`` is kept, at least one, and only from the highest reward reached: answers on a lower
    rung are not trained on once a better one exists. Ties are broken by not-a-duplicate, then
    shorter, then a seeded hash. The order of ``verdicts`` does not matter.

    Args:
        verdicts: Verdicts of one cycle; faults are passed over.
        threshold: Lowest reward kept, in [0, 1].
        keep: Share kept, in (0, 1].
        seed: Seed of the last tie-break.

    Returns:
        The kept verdicts, sorted by prompt id and sample index.
    """
    by_prompt: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if eligible(verdict, threshold):
            by_prompt.setdefault(verdict.sample.prompt.id, []).append(verdict)
    kept = [verdict for group in by_prompt.values() for verdict in _best(group, keep, seed)]
    return sorted(kept, key=lambda v: (v.sample.prompt.id, v.sample.index))


def to_example(sample: Sample) -> TrainingExample:
    """Return the tokens that were sampled, with loss on the completion only."""
    return TrainingExample(
        id=sample.id,
        input_ids=sample.prompt_ids + sample.token_ids,
        completion_start=len(sample.prompt_ids),
        logprobs=sample.logprobs,
        images=sample.prompt.images,
    )


def eligible(verdict: Verdict, threshold: float) -> bool:
    """Tell whether an answer may be trained on: good enough, and ended by itself."""
    return (
        verdict.result is not None
        and verdict.result.reward >= threshold
        and verdict.sample.finish_reason == "stop"
    )


def _best(group: Sequence[Verdict], keep: float, seed: int) -> list[Verdict]:
    # as an exact fraction: 0.7 of 10 answers is 7, which floating point makes 6.999...
    count = max(1, int(Fraction(str(keep)) * len(group)))
    top = max(_reward(verdict) for verdict in group)
    rung = sorted(
        (verdict for verdict in group if _reward(verdict) == top),
        key=lambda v: (len(v.sample.token_ids), derive_seed(seed, "tie", v.sample.id)),
    )
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, int, Verdict]] = []
    for verdict in rung:
        text = " ".join(verdict.sample.completion.split())
        ranked.append((seen[text], len(ranked), verdict))
        seen[text] += 1
    return [verdict for _, _, verdict in sorted(ranked, key=lambda item: item[:2])[:count]]


def _reward(verdict: Verdict) -> float:
    assert verdict.result is not None
    return verdict.result.reward
