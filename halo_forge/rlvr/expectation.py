"""What answers a run will give, as far as that can be known before: an earlier run, or bounds."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import UserError
from halo_forge.core.identity import derive_seed
from halo_forge.core.types import Sample, Verdict
from halo_forge.data.prompts import load_prompts
from halo_forge.rlvr.weighting import choose
from halo_forge.store.codec import verdict_from_record
from halo_forge.store.records import read_records
from halo_forge.store.run_dir import RunDir

__all__ = ["Answers", "Expectation", "assume", "expect_like"]

_T = TypeVar("_T")
_SHORT = 4
_FEW = 10


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one cycle and of one held-out evaluation.

    Attributes:
        lengths: Tokens of each answer, in the order in which they begin.
        kept: Of each answer trained on its tokens, prompt included, and those of its completion.
        heldout: Tokens of each held-out answer.
    """

    lengths: tuple[int, ...]
    kept: tuple[tuple[int, int], ...]
    heldout: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected at the least and at the most, and what that rests on.

    Attributes:
        low: At the least.
        high: At the most.
        words: What it rests on, for a person.
        texts: Answers of an earlier run, in an order by chance.
    """

    low: Answers
    high: Answers
    words: str
    texts: tuple[Sample, ...] = ()


def assume(config: RaftConfig, prompts: Sequence[int], heldout: Sequence[int]) -> Expectation:
    """Bound what cannot be known: how long answers get, and how many are kept.

    Args:
        config: Settings of the run.
        prompts: Tokens of each training prompt.
        heldout: Tokens of each held-out prompt.
    """
    most, loop = config.generation.max_new_tokens, config.raft
    total = len(prompts) * loop.samples_per_prompt
    share = 1 if loop.algorithm == "reinforce-rej" else loop.keep_top_percent
    kept = max(1, int(total * share))
    longest = sorted(prompts, reverse=True)

    def answers(length: int, trained: int) -> Answers:
        lengths = itertools.islice(itertools.cycle(longest), trained)
        return Answers(
            lengths=(length,) * total,
            kept=tuple((prompt + length, length) for prompt in lengths),
            heldout=(length,) * (len(heldout) * config.evaluation.samples_per_prompt),
        )

    short = max(1, most // _SHORT)
    few = max(min(kept, loop.min_samples), kept // _FEW)
    return Expectation(
        answers(short, few),
        answers(most, kept),
        f"how long answers get is not known: {short} tokens (a quarter of max_new_tokens) to "
        f"{most}, of {total} answers {few} to {kept} trained on; --like RUN takes both from a run",
    )


def expect_like(config: RaftConfig, path: Path, prompts: int, heldout: int) -> Expectation:
    """Expect answers like those of the last whole cycle of the run in ``path``.

    Args:
        config: Settings of the run that is planned.
        path: An earlier run of the same model on similar prompts.
        prompts: How many training prompts there will be.
        heldout: How many held-out prompts there will be.

    Raises:
        UserError: If ``path`` is not a run with a whole cycle.
        StoreFault: If one of its files is damaged.
    """
    run = RunDir(path)
    cycle = run.last_complete
    if run.read_info() is None or not cycle:
        raise UserError(f"--like: {path} is not a run with a cycle that is complete")
    known = {prompt.id: prompt for prompt in load_prompts(str(run.prompts_path))}
    verdicts = [
        verdict_from_record(record, known) for record in read_records(run.verified_path(cycle))
    ]
    lengths = [verdict.sample.length for verdict in verdicts]
    choice = choose(
        verdicts,
        config.raft,
        threshold=config.raft.reward_threshold,
        keep=config.raft.keep_top_percent,
        seed=derive_seed(config.seed, "select", 1),
    )
    trained = [*choice.good, *choice.bad]
    if not trained:
        raise UserError(f"--like: with these settings no answer of cycle {cycle} of {path} is kept")
    judged = run.eval_path(cycle)
    apart = [_length(record) for record in read_records(judged)] if judged.exists() else lengths
    total = prompts * config.raft.samples_per_prompt
    most = config.generation.max_new_tokens
    share = len(trained) / len(verdicts)
    answers = Answers(
        lengths=_as_many(lengths, total, most),
        kept=_trained(trained, max(1, round(share * total)), most),
        heldout=_as_many(apart, heldout * config.evaluation.samples_per_prompt, most),
    )
    mean = sum(answers.lengths) / len(answers.lengths)
    return Expectation(
        answers,
        answers,
        f"answers as in cycle {cycle} of {path}: {mean:.0f} tokens on average, "
        f"{len(answers.kept)} of {total} trained on",
        tuple(_mixed([verdict.sample for verdict in verdicts])),
    )


def _length(record: dict[str, object]) -> int:
    ids, told = record["token_ids"], record.get("token_count")
    return told if isinstance(told, int) and told else len(ids) if isinstance(ids, list) else 0


def _as_many(lengths: Sequence[int], count: int, most: int) -> tuple[int, ...]:
    """Return ``count`` lengths of the same distribution, in an order by chance.

    A journal has them in the order in which they ended, the short ones first.
    """
    cut = [min(length, most) for length in lengths]
    return tuple(itertools.islice(itertools.cycle(_mixed(cut)), count))


def _mixed(things: Sequence[_T]) -> list[_T]:
    return random.Random(0).sample(list(things), len(things))  # noqa: S311 - no secret


def _trained(kept: Sequence[Verdict], count: int, most: int) -> tuple[tuple[int, int], ...]:
    pairs = []
    for verdict in itertools.islice(itertools.cycle(kept), count):
        completion = min(verdict.sample.length, most)
        pairs.append((len(verdict.sample.prompt_ids) + completion, completion))
    return tuple(pairs)
