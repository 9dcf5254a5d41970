"""The curves of a run: which figures belong together; pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

from halo_forge.report.charts import Chart, Point, Series
from halo_forge.report.records import Cycle
from halo_forge.report.samples import Answer
from halo_forge.rlvr.statistics import RATES
from halo_forge.stats import Estimate, bootstrap_rate

__all__ = ["Rates", "charts_of", "training_rates"]

Rates = Mapping[int, Mapping[str, Estimate]]
"""For each cycle its rates by name, with their intervals."""

_TRAINING = ("pass_rate", "compile_rate")


def training_rates(answers: Iterable[Answer]) -> Rates:
    """Return compile and pass rate of training answers by cycle; intervals are over prompts.

    Args:
        answers: In the order of cycles.
    """
    rates = {}
    for cycle, group in groupby(answers, key=lambda answer: answer.cycle):
        prompts: dict[str, list[Answer]] = {}
        for answer in group:
            prompts.setdefault(answer.prompt_id, []).append(answer)
        rates[cycle] = {
            name: bootstrap_rate(
                [
                    sum(RATES[name](answer.result) for answer in found) / len(found)
                    for found in prompts.values()
                ]
            )
            for name in _TRAINING
        }
    return rates


def charts_of(cycles: Sequence[Cycle], training: Rates) -> list[Chart]:
    """Return every chart of a run; those without figures have no points.

    Args:
        cycles: Records of the run, the baseline first.
        training: Rates of training answers, as `training_rates` gives them.
    """

    def series(name: str, figure: Callable[[Cycle], float | None]) -> Series:
        values = [(cycle.cycle, figure(cycle)) for cycle in cycles]
        return Series(name, tuple(Point(x, float(y)) for x, y in values if y is not None))

    heldout = (
        _estimates("full pass", _heldout(cycles, "pass_rate")),
        _estimates("compile", _heldout(cycles, "compile_rate")),
        _estimates("hidden tests", _heldout(cycles, "hidden_pass_rate")),
    )
    answers = (
        _estimates("full pass", {n: rates["pass_rate"] for n, rates in training.items()}),
        _estimates("compile", {n: rates["compile_rate"] for n, rates in training.items()}),
    )
    reward = (
        series("all answers", lambda c: c.avg_reward),
        series("kept", lambda c: c.avg_kept_reward),
    )
    kept = (series("kept", lambda c: c.kept), series("of them different", lambda c: c.unique_kept))
    seconds = (
        series("generate", lambda c: c.generating_seconds),
        series("verify", lambda c: c.judging_seconds),
        series("train", lambda c: c.training_seconds),
    )
    alike = series("prompts whose answers get one reward", lambda c: c.frac_reward_zero_std)
    entropy = series("entropy", lambda c: c.entropy)
    rate = series("learning rate", lambda c: c.learning_rate)
    return [
        Chart("Held-out rates, 95 % intervals", heldout, percent=True, top=1.0),
        Chart("Training answers, 95 % intervals", answers, percent=True, top=1.0),
        Chart("Mean reward", reward, top=1.0),
        Chart("Answers kept for training", kept),
        Chart("Entropy of sampling, nats a token", (entropy,)),
        Chart("Prompts without a difference in reward", (alike,), percent=True, top=1.0),
        Chart("Loss", (series("loss", lambda c: c.loss),)),
        Chart("Learning rate", (rate,)),
        Chart("Seconds by what they went to", seconds, stacked=True),
    ]


def _heldout(cycles: Sequence[Cycle], key: str) -> dict[int, Estimate]:
    found = {c.cycle: c.heldout.rate(key) for c in cycles if c.heldout is not None}
    return {number: rate for number, rate in found.items() if rate is not None}


def _estimates(name: str, rates: Mapping[int, Estimate]) -> Series:
    return Series(name, tuple(Point(n, r.mean, r.low, r.high) for n, r in rates.items()))
