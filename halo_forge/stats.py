"""Intervals and tests for rates over prompts: pure functions of numbers and a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from halo_forge.utils.typing import override

__all__ = ["Estimate", "Paired", "bootstrap_rate", "paired_difference", "smallest_shown"]

_RESAMPLES = 10_000
_EXACT_LIMIT = 16
_FEWEST = 6
_NOISE = 1e-12  # rates are shares of counts, whose differences are not exact
"""Units below which even a clean sweep has a p-value above 0.05."""
_Z = 1.959964
"""Standard errors from the middle of a normal distribution to the ends of its middle 95 %."""


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

    @override
    def __str__(self) -> str:
        return f"{self.difference.mean:+.3f} [{self.difference.low:+.3f}, " + (
            f"{self.difference.high:+.3f}], p = {self.p_value:.4f}"
        )


def bootstrap_rate(values: Sequence[float], seed: int = 0) -> Estimate:
    """Return the mean of per-prompt rates with its percentile bootstrap interval.

    Prompts are resampled, not samples: answers to one prompt are not independent (Efron 1979;
    Miller 2024, arXiv:2411.00640, section 2.2 on clustered questions). When every rate is 0, or
    every one is 1, resampling would know no doubt: the interval is then the exact one of as many
    prompts without an exception (Clopper and Pearson 1934).

    Args:
        values: Rates from 0 to 1.
        seed: Of the resampling.

    Raises:
        ValueError: If ``values`` is empty.
    """
    estimate = _bootstrap(values, seed)
    if estimate.low == estimate.high == 0:
        return replace(estimate, high=_unseen(estimate.units))
    if estimate.low == estimate.high == 1:
        return replace(estimate, low=1 - _unseen(estimate.units))
    return estimate


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
    estimate = _bootstrap(differences, seed)
    if estimate.high - estimate.low < _NOISE:
        others, all_alike = _unseen(estimate.units), estimate.mean
        low, high = all_alike - others * (1 + all_alike), all_alike + others * (1 - all_alike)
        estimate = replace(estimate, low=low, high=high)
    moved = differences[differences != 0]
    return Paired(estimate, _sign_flip(moved, seed) if len(moved) else 1.0)


def smallest_shown(before: Sequence[float], after: Sequence[float]) -> float | None:
    """Return the smallest difference that so many prompts, so spread, tell from none.

    That is 1.96 standard errors of the mean paired difference (Miller 2024, arXiv:2411.00640,
    section 4): with less, the 95 % interval holds 0. It is a property of the measurement, not the
    difference that would be found with certainty.

    Args:
        before: Rates from 0 to 1.
        after: Rates of the same prompts, in the same order.

    Returns:
        A difference from 0 to 1, or None where there are too few prompts to show any: with fewer
        than 6 the sign-flip test cannot reach 0.05.
    """
    differences = _differences(before, after)
    if len(differences) < _FEWEST:
        return None
    spread = float(differences.std(ddof=1))
    if spread < _NOISE:
        return _unseen(len(differences))
    return min(_Z * spread / math.sqrt(len(differences)), 1.0)


def _differences(before: Sequence[float], after: Sequence[float]) -> npt.NDArray[np.float64]:
    return np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)


def _bootstrap(values: Sequence[float] | npt.NDArray[np.float64], seed: int) -> Estimate:
    if not len(values):
        raise ValueError("an interval needs at least one value")
    data = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = data[rng.integers(0, len(data), (_RESAMPLES, len(data)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(data.mean()), float(low), float(high), len(data))


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
    flips = 1 - 2 * rng.integers(0, 2, (_RESAMPLES, count))
    sums = np.abs((flips * moved).sum(axis=1))
    return float((1 + (sums >= observed - tolerance).sum()) / (1 + _RESAMPLES))
