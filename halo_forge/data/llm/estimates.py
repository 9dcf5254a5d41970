"""What generating would take and cost, found without asking anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from halo_forge.config.generate import GenerateConfig, TopicConfig
from halo_forge.data.llm.budget import Budget, Spent
from halo_forge.data.llm.journal import Answers, Limits, spent_on
from halo_forge.data.llm.requests import ItemRequest, plan_requests
from halo_forge.store.generation_dir import GenerationDir
from halo_forge.store.records import read_records

__all__ = ["Estimate", "cost_of", "estimate"]

_MILLION = 1_000_000
_BYTES_PER_TOKEN = 4
"""About, for an estimate before anything was measured."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What generating would take, found without asking anybody.

    Attributes:
        requests: Requests of the plan.
        answered: Those whose answers are on disk.
        allowed: Requests that the budget lets through, of those that are owed.
        spent: What all answers in the folder took.
        likely_tokens: Read and written by the requests that are allowed: as the answers on disk
            were, or at a guess.
        most_tokens: The most that they can take.
        measured: The likely figure comes from answers on disk.
        likely_cost: Of the likely tokens, if prices are known.
        most_cost: Of the most tokens.
    """

    requests: int
    answered: int
    allowed: int
    spent: Spent
    likely_tokens: tuple[int, int]
    most_tokens: tuple[int, int]
    measured: bool
    likely_cost: float | None
    most_cost: float | None


def estimate(topic: TopicConfig, config: GenerateConfig) -> Estimate:
    """Say what `generate` would do and take; needs no server, no key and no model.

    Raises:
        StoreFault: If the journal of answers is damaged.
    """
    folder = GenerationDir.of(config.output_dir, topic.name)
    records = list(read_records(folder.answers_path))
    known = Answers(records, config)
    requests = plan_requests(topic, config)
    owed = [request for request in requests if known.of(request) is None]
    spent = spent_on(records)
    limits = Limits(topic, config)
    budget = Budget(config.budget, spent)
    allowed = [request for request in owed if budget.reserve(sum(limits.of(request)))]
    most = [limits.of(request) for request in allowed]
    read, written = _likely(allowed, spent, config)
    likely = (min(read, sum(r for r, _ in most)), min(written, sum(w for _, w in most)))
    at_most = (sum(r for r, _ in most), sum(w for _, w in most))
    return Estimate(
        requests=len(requests),
        answered=len(requests) - len(owed),
        allowed=len(allowed),
        spent=spent,
        likely_tokens=likely,
        most_tokens=at_most,
        measured=bool(spent.requests),
        likely_cost=cost_of(*likely, config),
        most_cost=cost_of(*at_most, config),
    )


def _likely(
    allowed: Sequence[ItemRequest], spent: Spent, config: GenerateConfig
) -> tuple[int, int]:
    """Return the tokens that requests will take, by the mean so far, else at a guess."""
    count = len(allowed)
    if spent.requests:
        return count * spent.read // spent.requests, count * spent.written // spent.requests
    read = sum(
        len((request.system + request.user).encode()) // _BYTES_PER_TOKEN for request in allowed
    )
    return read, count * config.generation.max_new_tokens // 2


def cost_of(read: int, written: int, config: GenerateConfig) -> float | None:
    """Return what tokens cost, or None without prices."""
    price = config.price
    if price.input is None or price.output is None:
        return None
    return (read * price.input + written * price.output) / _MILLION
