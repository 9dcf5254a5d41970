"""Intervals that cover, p-values that equal the definition."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.stats import Estimate, Paired, bootstrap_rate, paired_difference

# Rates as prompts give them: tenths, whose differences are not exact in floating point.
_tenths = st.integers(0, 10)
_pairs = st.lists(st.tuples(_tenths, _tenths), min_size=1, max_size=9)


def _p_by_enumeration(pairs: list[tuple[int, int]]) -> Fraction:
    """Return the share of sign patterns whose sum is at least as far from 0, in whole numbers."""
    moved = [after - before for before, after in pairs if after != before]
    sums = [
        abs(sum(s * d for s, d in zip(signs, moved, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(moved))
    ]
    return Fraction(sum(value >= abs(sum(moved)) for value in sums), len(sums))


def _split(pairs: list[tuple[int, int]]) -> tuple[list[float], list[float]]:
    return [before / 10 for before, _ in pairs], [after / 10 for _, after in pairs]


def test_interval_covers_the_truth() -> None:
    """Of 120 intervals for a known rate, close to 95 % hold it."""
    rng = np.random.default_rng(7)
    covered = 0
    for trial in range(120):
        estimate = bootstrap_rate(list(rng.binomial(1, 0.4, 40).astype(float)), trial)
        covered += estimate.low <= 0.4 <= estimate.high
    assert 0.89 <= covered / 120 <= 0.99


def test_interval_is_that_of_95_percent() -> None:
    """For many prompts the width is that of the normal approximation, 2 x 1.96 standard errors."""
    estimate = bootstrap_rate([0.0, 1.0] * 200)
    width = 2 * 1.96 * 0.5 / 20
    assert estimate.high - estimate.low == pytest.approx(width, rel=0.06)


def test_interval_narrows_with_prompts() -> None:
    """Four times the prompts halve the interval."""
    few, many = bootstrap_rate([0.0, 1.0] * 20), bootstrap_rate([0.0, 1.0] * 80)
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(0.5, abs=0.06)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 2**63 - 1))
def test_interval_is_deterministic_and_ordered(values: list[float], seed: int) -> None:
    """The same seed gives the same interval; it lies within the values, unless all are alike."""
    estimate = bootstrap_rate(values, seed)
    assert estimate == bootstrap_rate(values, seed)
    slack = 1e-12
    alike = max(values) - min(values) < 1e-11
    lowest, highest = (0, 1) if alike else (min(values), max(values))
    assert lowest - slack <= estimate.low <= estimate.high <= highest + slack
    assert estimate.mean == pytest.approx(sum(values) / len(values))
    assert estimate.units == len(values)


def test_seed_changes_the_resamples() -> None:
    """Another seed draws other resamples."""
    values = [n**2 / 900 for n in range(30)]
    assert len({bootstrap_rate(values, seed).low for seed in range(8)}) > 1


def test_many_prompts_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn in portions the numbers are the same, whatever the portion holds."""
    before, after = ([((n * step) % 11) / 10 for n in range(40)] for step in (3, 7))
    whole = bootstrap_rate(after, 5), paired_difference(before, after, 5)
    drawn: list[int] = []
    real = np.random.default_rng

    class Counting:
        def __init__(self, seed: int) -> None:
            self._rng = real(seed)

        def integers(self, low: int, high: int, size: tuple[int, int]) -> object:
            drawn.append(size[0] * size[1])
            return self._rng.integers(low, high, size)

    monkeypatch.setattr("halo_forge.stats._AT_ONCE", 1000)
    monkeypatch.setattr(np.random, "default_rng", Counting)
    assert (bootstrap_rate(after, 5), paired_difference(before, after, 5)) == whole
    assert max(drawn) <= 1000


@pytest.mark.parametrize("prompts", [1, 6, 47])
def test_equal_rates_are_not_certain(prompts: int) -> None:
    """One prompt with two of four answers right does not make 50.0 % [50.0, 50.0]."""
    found = bootstrap_rate([0.25] * prompts)
    unseen = 1 - 0.025 ** (1 / prompts)
    assert found.low == pytest.approx(0.25 * (1 - unseen))
    assert found.high == pytest.approx(0.25 + 0.75 * unseen)


@pytest.mark.parametrize("prompts", [1, 12, 47])
def test_what_was_never_seen_may_yet_exist(prompts: int) -> None:
    """After nothing but failures the interval ends where as many would be a 2.5 % chance."""
    never, always = bootstrap_rate([0.0] * prompts), bootstrap_rate([1.0] * prompts)
    assert (never.mean, never.low) == (0.0, 0.0)
    assert (1 - never.high) ** prompts == pytest.approx(0.025)
    assert (always.mean, always.high) == (1.0, 1.0)
    assert always.low == pytest.approx(1 - never.high)
    unmoved = paired_difference([0.5] * prompts, [0.5] * prompts).difference
    assert (unmoved.mean, unmoved.low, unmoved.high) == (0.0, -never.high, never.high)


def test_a_clean_sweep_has_doubts_too() -> None:
    """When all prompts gain the same, the next may yet lose all: the interval allows for it."""
    sweep = paired_difference([0.0] * 12, [1.0] * 12).difference
    assert (sweep.mean, sweep.high) == (1.0, 1.0)
    assert sweep.low == pytest.approx(1 - 2 * (1 - 0.025 ** (1 / 12)))
    step = paired_difference([0.25] * 12, [0.5] * 12).difference
    assert step.low < 0.25 < step.high < 1
    assert paired_difference([0.5], [0.75]).difference.low < 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(_tenths, _tenths), min_size=6, max_size=60))
def test_smallest_shown_agrees_with_the_interval(pairs: list[tuple[int, int]]) -> None:
    """It is below the difference where the interval is off 0, and above where it holds 0."""
    pair = paired_difference(*_split(pairs))
    least, found = pair.smallest_shown, pair.difference
    assert least is not None
    if min(abs(found.low), abs(found.high)) > 1e-9:  # on the border rounding decides
        assert (least < abs(found.mean)) is not (found.low < 0 < found.high)


def test_a_shown_difference_is_not_too_small_to_show() -> None:
    """One problem that gains much among five that gain little: shown, and so said."""
    found = paired_difference([0.0] * 6, [0.01] * 5 + [1.0])
    assert found.difference.low > 0
    assert found.p_value < 0.05
    assert found.smallest_shown is not None
    assert found.smallest_shown < found.difference.mean


def test_smallest_shown_is_half_of_the_normal_interval() -> None:
    """For many prompts that move both ways it is 1.96 standard errors."""
    pairs = [(5, 4), (5, 6), (5, 8)] * 60
    differences = np.subtract(*reversed(_split(pairs)))
    expected = 1.96 * differences.std(ddof=1) / len(pairs) ** 0.5
    assert paired_difference(*_split(pairs)).smallest_shown == pytest.approx(expected, rel=0.1)


def test_alike_is_alike_whatever_the_noise() -> None:
    """Differences that differ in their last bits alone leave as much unseen as equal ones."""
    before = [tenth / 10 for tenth in range(1, 8)]
    after = [tenth / 10 for tenth in range(2, 9)]
    assert len(set(np.subtract(after, before).tolist())) > 1
    pair = paired_difference(before, after)
    found, shown = pair.difference, pair.smallest_shown
    assert shown is not None
    assert shown > 0.1
    assert found.low < 0.05 < 0.15 < found.high


def test_too_few_show_nothing() -> None:
    """Five prompts never reach p < 0.05, six that all gain do."""
    five, six = (paired_difference([0.0] * prompts, [1.0] * prompts) for prompts in (5, 6))
    assert five.smallest_shown is None
    assert five.p_value > 0.05
    assert six.smallest_shown is not None
    assert six.p_value < 0.05


@settings(max_examples=80, deadline=None)
@given(_pairs)
def test_p_value_equals_enumeration(pairs: list[tuple[int, int]]) -> None:
    """The exact p-value is that of all sign patterns, rounding errors notwithstanding."""
    assert paired_difference(*_split(pairs)).p_value == pytest.approx(
        float(_p_by_enumeration(pairs)), abs=1e-12
    )


@pytest.mark.parametrize("moved", [16, 17])
def test_p_value_on_both_sides_of_the_exact_limit(moved: int) -> None:
    """With 16 prompts that moved the p-value is exact, with 17 a close estimate."""
    rng = np.random.default_rng(moved)
    steps = rng.choice([-3, -2, -1, 1, 2, 3, 4], moved)
    signs = 1 - 2 * ((np.arange(2**moved)[:, None] >> np.arange(moved)) & 1)
    exact = (np.abs(signs @ steps) >= abs(steps.sum())).mean()
    found = paired_difference([0.0] * moved, list(steps / 10)).p_value
    assert found == pytest.approx(exact, abs=1e-12 if moved == 16 else 0.02)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(_tenths, _tenths), min_size=1, max_size=24))
def test_p_value_is_symmetric_and_never_zero(pairs: list[tuple[int, int]]) -> None:
    """Swapping before and after mirrors the difference and leaves the p-value."""
    before, after = _split(pairs)
    there, back = paired_difference(before, after), paired_difference(after, before)
    assert there.p_value == back.p_value
    assert 0 < there.p_value <= 1
    assert there.difference.mean == pytest.approx(-back.difference.mean)
    assert there.difference.low == pytest.approx(-back.difference.high)


@pytest.mark.parametrize(("prompts", "p"), [(4, 2 / 16), (16, 2 / 2**16), (40, 1 / 10_001)])
def test_p_value_of_a_clean_sweep(prompts: int, p: float) -> None:
    """When every prompt improves, p is the smallest that the test can give, not 0."""
    assert paired_difference([0.0] * prompts, [1.0] * prompts).p_value == pytest.approx(p)


def test_prompts_that_did_not_move_do_not_count() -> None:
    """Ties carry no evidence: with them alone p is 1, and they leave it as it is."""
    assert paired_difference([0.5] * 30, [0.5] * 30).p_value == 1.0
    few = paired_difference([0.0] * 5, [1.0] * 5).p_value
    assert paired_difference([0.0] * 5 + [0.5] * 30, [1.0] * 5 + [0.5] * 30).p_value == few


def test_empty_and_unequal_are_refused() -> None:
    """No values and lists of different lengths are named as what they are."""
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap_rate([])
    with pytest.raises(ValueError, match="at least one value"):
        paired_difference([], [])
    with pytest.raises(ValueError, match="length: 2 and 1"):
        paired_difference([0.1, 0.2], [0.1])


def test_shown_with_their_intervals() -> None:
    """What people read carries interval, sign and p-value."""
    estimate = Estimate(0.25, -0.125, 0.5, 4)
    assert str(estimate) == "0.250 [-0.125, 0.500]"
    assert str(Paired(estimate, 0.03125)) == "+0.250 [-0.125, +0.500], p = 0.0312"
