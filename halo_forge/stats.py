"""Intervals and tests for rates over prompts: pure functions of numbers and a seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from halo_forge.utils.typing import override

__all__ = ["Estimate", "Paired", "bootstrap_rate", "paired_difference"]

_RESAMPLES = 10_000
_AT_ONCE = 2**22
"""Random numbers that are drawn at one time: many units cost time, and no more memory."""
_EXACT_LIMIT = 16
_FEWEST = 6
"""Units below which even a clean sweep has a p-value above 0.05."""
_NOISE = 1e-12  # rates are shares of counts, whose differences are not exact


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        mean: Mean over the units (prompts, not samples).
        low: Lower end.
        high: Upper end.
        units: How many units.
    """

    mean: float
    low: float
    high: float
    units: int

    @override
    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Paired:
    """The difference of two conditions over the same units.

    Attributes:
        difference: Mean of after - before, with its interval.
        p_value: Two-sided, of the sign-flip permutation test.
    """

    difference: Estimate
    p_value: float

    @property
    def smallest_shown(self) -> float | None:
        """The smallest difference that so many units, so spread, tell from none; 0 to 1.

        It is how far the interval reaches from the difference towards none: with less, but as
        spread, it would hold 0. It is a property of the measurement, not the difference that would
        be found with certainty. None where there are too few units to show any: with fewer than 6
        the sign-flip test cannot reach 0.05.
        """
        found = self.difference
        if found.units < _FEWEST:
            return None
        return found.mean - found.low if found.mean >= 0 else found.high - found.mean

    @override
    def __str__(self) -> str:
        return f"{self.difference.mean:+.3f} [{self.difference.low:+.3f}, " + (
            f"{self.difference.high:+.3f}], p = {self.p_value:.4f}"
        )


def bootstrap_rate(values: Sequence[float], seed: int = 0) -> Estimate:
    """Return the mean of per-prompt rates with its percentile bootstrap interval.

    Prompts are resampled, not samples: answers to one prompt are not independent (Efron 1979;
    Miller 2024, arXiv:2411.00640, section 2.2 on clustered questions). When all rates are the same
    resampling would know no doubt: the interval then allows for the share of prompts that may yet
    do otherwise, up to none or all of their answers; where every rate is 0 or every one is 1 that
    is the exact one of as many prompts without an exception (Clopper and Pearson 1934).

    Args:
        values: Rates from 0 to 1.
        seed: Of the resampling.

    Raises:
        ValueError: If ``values`` is empty.
    """
    return _doubted(_bootstrap(values, seed), lowest=0.0)


def paired_difference(before: Sequence[float], after: Sequence[float], seed: int = 0) -> Paired:
    """Return the mean paired difference, its bootstrap interval, and its p-value.

    The p-value is that of the sign-flip permutation test (Fisher 1935): how often a difference
    at least as large arises when each prompt's two conditions are swapped at random. Exact up to
    16 prompts that differ, else from 10,000 random flips with the +1 correction (Phipson and
    Smyth 2010), so it is never 0. When all prompts differ by the same, or none does, resampling
    would know no doubt: the interval then allows for the share of prompts that may yet do
    otherwise, up to the ends of what is possible (Clopper and Pearson 1934).

    Args:
        before: Rates from 0 to 1.
        after: Rates of the same prompts, in the same order.
        seed: Of resampling and flips.

    Raises:
        ValueError: If the lengths differ or are 0.
    """
    if len(before) != len(after):
        raise ValueError(f"paired values differ in length: {len(before)} and {len(after)}")
    differences = _differences(before, after)
    estimate = _doubted(_bootstrap(differences, seed), lowest=-1.0)
    moved = differences[differences != 0]
    return Paired(estimate, _sign_flip(moved, seed) if len(moved) else 1.0)


def _differences(before: Sequence[float], after: Sequence[float]) -> npt.NDArray[np.float64]:
    return np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)


def _bootstrap(values: Sequence[float] | npt.NDArray[np.float64], seed: int) -> Estimate:
    if not len(values):
        raise ValueError("an interval needs at least one value")
    data = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(0, len(data), (rows, len(data))) for rows in _portions(len(data)))
    means = np.concatenate([data[indices].mean(axis=1) for indices in drawn])
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(data.mean()), float(low), float(high), len(data))


def _doubted(estimate: Estimate, lowest: float) -> Estimate:
    """Widen the interval of values that are all alike by those that may yet be seen."""
    if estimate.high - estimate.low >= _NOISE:
        return estimate
    others, alike = _unseen(estimate.units), estimate.mean
    low, high = alike - others * (alike - lowest), alike + others * (1 - alike)
    return replace(estimate, low=low, high=high)


def _unseen(units: int) -> float:
    """Return how common something may be that none of ``units`` showed (97.5 %, one side)."""
    return 1 - float(0.025 ** (1 / units))


def _sign_flip(moved: npt.NDArray[np.float64], seed: int) -> float:
    observed = abs(moved.sum())
    tolerance = 1e-12 * max(1.0, math.fsum(abs(moved)))
    count = len(moved)
    if count <= _EXACT_LIMIT:
        bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        sums = np.abs(((1 - 2 * bits) * moved).sum(axis=1))
        return float((sums >= observed - tolerance).mean())
    rng = np.random.default_rng(seed)
    extreme = 0
    for rows in _portions(count):
        flips = 1 - 2 * rng.integers(0, 2, (rows, count))
        sums = np.abs((flips * moved).sum(axis=1))
        extreme += int((sums >= observed - tolerance).sum())
    return (1 + extreme) / (1 + _RESAMPLES)


def _portions(units: int) -> Iterator[int]:
    """Yield numbers of resamples, together all of them, each small enough for memory."""
    most = max(1, _AT_ONCE // units)
    for done in range(0, _RESAMPLES, most):
        yield min(most, _RESAMPLES - done)
