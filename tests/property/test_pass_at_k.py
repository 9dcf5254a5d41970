"""pass@k equals what it stands for: the share of k-subsets that hold a passing answer."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.benchmark.pass_at_k import estimate_pass_at_k, pass_at_k


@pytest.mark.parametrize("n", range(1, 13))
def test_equals_enumeration_of_all_subsets(n: int) -> None:
    """For every c and k the estimator is the share of subsets with a pass, exactly."""
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        subsets = list(itertools.combinations(range(n), k))
        hits = sum(subset[0] < c for subset in subsets)  # subsets are sorted, 0..c-1 passed
        assert pass_at_k(n, c, k) == float(Fraction(hits, len(subsets))), (n, c, k)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_equals_the_closed_form(data: st.DataObject) -> None:
    """Hundreds of samples give the binomial quotient to the last bit."""
    n = data.draw(st.integers(1, 400))
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    expected = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
    assert pass_at_k(n, c, k) == float(expected)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_rises_with_passes_and_budget(data: st.DataObject) -> None:
    """One more pass, or one more try, never lowers it; pass@1 is the rate."""
    n = data.draw(st.integers(2, 60))
    c, k = data.draw(st.integers(0, n - 1)), data.draw(st.integers(1, n - 1))
    assert pass_at_k(n, c, k) <= pass_at_k(n, c + 1, k) <= 1
    assert 0 <= pass_at_k(n, c, k) <= pass_at_k(n, c, k + 1)
    assert pass_at_k(n, c, 1) == c / n


@pytest.mark.parametrize(
    ("n", "c", "k", "said"),
    [
        (0, 0, 1, "n must be at least 1, got 0"),
        (5, -1, 1, "c must be between 0 and n = 5, got -1"),
        (5, 6, 1, "c must be between 0 and n = 5, got 6"),
        (5, 2, 0, "k must be between 1 and n = 5, got 0"),
        (5, 2, 6, "k must be between 1 and n = 5, got 6"),
    ],
)
def test_errors_name_the_offender(n: int, c: int, k: int, said: str) -> None:
    """An argument out of bounds is named with its bounds and value."""
    with pytest.raises(ValueError, match="^" + said + "$"):
        pass_at_k(n, c, k)


def test_estimate_is_the_mean_over_problems() -> None:
    """Problems weigh the same, and the interval is over problems."""
    estimate = estimate_pass_at_k([0, 1, 4, 2], n=4, k=2)
    assert estimate.mean == pytest.approx((0 + 1 / 2 + 1 + 5 / 6) / 4)
    assert estimate.units == 4
    assert estimate.low < estimate.mean < estimate.high
    assert estimate == estimate_pass_at_k([0, 1, 4, 2], n=4, k=2)


def test_estimate_passes_errors_on() -> None:
    """A count above n, and no problem at all, are refused."""
    with pytest.raises(ValueError, match="c must be between 0 and n = 4, got 5"):
        estimate_pass_at_k([1, 5], n=4, k=1)
    with pytest.raises(ValueError, match="at least one value"):
        estimate_pass_at_k([], n=4, k=1)
