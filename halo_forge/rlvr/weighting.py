"""Which judged answers are trained on, and at which weight: pure functions of one journal.

The algorithms differ in nothing else but the cost of a token, `halo_forge.sft.objectives`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from halo_forge.config.algorithm import AlgorithmSettings
from halo_forge.core.errors import UserError
from halo_forge.core.types import TrainingExample, Verdict
from halo_forge.rlvr.programs import distinct_programs
from halo_forge.rlvr.selection import by_prompt, good_answers, ranked, select, to_example
from halo_forge.sft.base import Objective

__all__ = ["Choice", "alike", "choice_record", "choose", "objective"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Answers that are trained on, each with its weight.

    Attributes:
        good: Made likelier, sorted by prompt id and sample index.
        bad: Made less likely, sorted alike; empty but for ``reinforce-rej``.
        weights: Weight of each prompt's answers, by its id, above 0.
    """

    good: list[Verdict]
    bad: list[Verdict]
    weights: dict[str, float]

    def examples(self, *, with_logprobs: bool) -> list[TrainingExample]:
        """Return what the learner is given.

        Args:
            with_logprobs: Whether it needs to know how likely each token was when it was sampled.

        Raises:
            UserError: If it needs that and the answers do not tell.
        """
        signed = [(v, self.weights[v.sample.prompt.id]) for v in self.good]
        signed += [(v, -self.weights[v.sample.prompt.id]) for v in self.bad]
        for verdict, _ in signed if with_logprobs else ():
            sample = verdict.sample
            if len(sample.logprobs) != len(sample.token_ids):
                raise UserError(
                    f"{sample.id}: the engine gave no log-probability for each token, which "
                    "raft.algorithm raft++ and reinforce-rej compare with; use raft"
                )
        return [to_example(verdict.sample, weight) for verdict, weight in signed]


def alike(good: list[Verdict]) -> Choice:
    """Return a choice of good answers that all weigh the same."""
    return Choice(good, [], {verdict.sample.prompt.id: 1.0 for verdict in good})


def choose(
    verdicts: Sequence[Verdict],
    loop: AlgorithmSettings,
    *,
    threshold: float,
    keep: float,
    seed: int,
) -> Choice:
    """Choose the answers of a cycle.

    ``raft`` and ``raft++`` keep what `halo_forge.rlvr.selection.select` keeps: with binary rewards
    the answers of ``I(r = max_j r_j)`` (Xiong et al. 2025, arXiv:2504.11343, equations 1 and 6).
    ``reinforce-rej`` takes every answer of every prompt whose answers are neither all good nor all
    bad (section 5.1). Good is the highest reward that the prompt reached, if that is at the
    threshold: an answer that merely compiles is bad beside a correct one. An answer that was cut
    is not trained on, neither way, but what it is worth counts in whether all are alike.

    With ``prompt_weights: inverse-pass-rate`` a prompt's answers weigh ``1 / (good / judged)``,
    over the mean of all that are trained on: where all good answers are trained on (``keep`` 1, no
    bound, no repeats left out), the sum over a prompt's is the gradient of its log pass rate,
    ``E[d log pi | good]``, instead of that of its pass rate (MaxRL, arXiv:2602.02710). Where fewer
    are kept, hard prompts weigh more than that: one answer to each prompt, all weighing the same,
    is already a sample of it.

    Args:
        verdicts: Verdicts of one cycle; faults are passed over.
        loop: The algorithm, weights and bounds.
        threshold: Lowest reward of a good answer, in [0, 1].
        keep: Share of a prompt's good answers that is kept, in (0, 1].
        seed: Seed of the last tie-break.
    """
    judged = by_prompt(v for v in verdicts if v.result is not None)
    bad: list[Verdict] = []
    if loop.algorithm == "reinforce-rej":
        mixed = [_mixed(group, threshold) for group in judged.values()]
        good = [v for best, _ in mixed for v in _bounded(best, loop, seed)]
        bad = [v for _, rest in mixed for v in _bounded(rest, loop, seed)]
    else:
        good = select(
            verdicts,
            threshold=threshold,
            keep=keep,
            seed=seed,
            most=loop.max_per_prompt,
            distinct=loop.distinct,
        )
    choice = Choice(_sorted(good), _sorted(bad), {})
    choice.weights.update(_weights(choice, judged, loop, threshold))
    return choice


def objective(loop: AlgorithmSettings, choice: Choice, temperature: float) -> Objective | None:
    """Return what a token costs; None for the plain mean over tokens.

    Args:
        loop: The algorithm.
        choice: The answers of a cycle.
        temperature: At which they were sampled. A ratio is one of the distribution that was sampled
            from; the likelihood of ``raft`` is that of the model as it is.
    """
    ratio = loop.algorithm != "raft"
    if not ratio and not loop.kl_coef and set(choice.weights.values()) <= {1.0}:
        return None
    return Objective(
        ratio, loop.clip_low, loop.clip_high, loop.kl_coef, temperature if ratio else 1.0
    )


def choice_record(
    choice: Choice, verdicts: Iterable[Verdict], loop: AlgorithmSettings, threshold: float
) -> dict[str, Any]:
    """Return the figures of a choice.

    ``distinct_accepted`` counts the programs among the good answers of all prompts, layout and
    names apart, ``distinct_kept`` those of them that are trained on.
    """
    accepted = [v for group in by_prompt(verdicts).values() for v in good_answers(group, threshold)]
    return {
        "algorithm": loop.algorithm,
        "kept_bad": len(choice.bad),
        "distinct_accepted": distinct_programs(accepted),
        "distinct_kept": distinct_programs(choice.good),
    }


def _mixed(group: list[Verdict], threshold: float) -> tuple[list[Verdict], list[Verdict]]:
    """Return the good and the bad answers of a prompt; none if all have the same reward."""
    good = good_answers(group, threshold)
    top = good[0].result if good else None
    worse = [v for v in group if top and v.result and v.result.reward < top.reward]
    if not worse:
        return [], []
    return good, [verdict for verdict in worse if verdict.sample.finish_reason == "stop"]


def _bounded(group: list[Verdict], loop: AlgorithmSettings, seed: int) -> list[Verdict]:
    return ranked(group, seed, distinct=loop.distinct)[: loop.max_per_prompt]


def _sorted(verdicts: list[Verdict]) -> list[Verdict]:
    return sorted(verdicts, key=lambda v: (v.sample.prompt.id, v.sample.index))


def _weights(
    choice: Choice, judged: dict[str, list[Verdict]], loop: AlgorithmSettings, threshold: float
) -> dict[str, float]:
    trained = [verdict.sample.prompt.id for verdict in (*choice.good, *choice.bad)]
    if loop.prompt_weights == "uniform":
        return dict.fromkeys(trained, 1.0)
    raw = {
        name: len(judged[name]) / len(good_answers(judged[name], threshold))
        for name in set(trained)
    }
    mean = fmean(raw[name] for name in trained) if trained else 1.0
    return {name: weight / mean for name, weight in raw.items()}
