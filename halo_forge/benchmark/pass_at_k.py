"""The unbiased estimator of pass@k."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from halo_forge.stats import Estimate, bootstrap_rate

__all__ = ["estimate_pass_at_k", "pass_at_k"]


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return the unbiased estimate of pass@k for one problem.

    ``1 - C(n-c, k) / C(n, k)`` (Chen et al. 2021, arXiv:2107.03374, eq. 1), computed exactly.

    Args:
        n: Samples drawn, n >= 1.
        c: Samples that passed, 0 <= c <= n.
        k: Budget, 1 <= k <= n.

    Returns:
        Probability in [0, 1] that at least one of k samples passes.

    Raises:
        ValueError: If the bounds above do not hold; the message names the offender.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if not 0 <= c <= n:
        raise ValueError(f"c must be between 0 and n = {n}, got {c}")
    if not 1 <= k <= n:
        raise ValueError(f"k must be between 1 and n = {n}, got {k}")
    none_passes = Fraction(1)
    for drawn in range(k):
        none_passes *= Fraction(max(n - c - drawn, 0), n - drawn)
    return float(1 - none_passes)


def estimate_pass_at_k(counts: Sequence[int], n: int, k: int, seed: int = 0) -> Estimate:
    """Return pass@k over problems with its 95 % interval.

    Args:
        counts: Passing samples of each problem.
        n: Samples of every problem.
        k: Budget.
        seed: Seed of the bootstrap over problems.

    Raises:
        ValueError: If a count, n or k is out of bounds, or there is no problem.
    """
    return bootstrap_rate([pass_at_k(n, c, k) for c in counts], seed)
