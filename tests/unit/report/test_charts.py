"""Charts stay in their box and say what they show."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halo_forge.report.charts import Chart, Point, Series, drawn, nice_ticks

POINTS = st.tuples(st.integers(0, 40), st.floats(0, 1e6))
VALUES = st.floats(-1e12, 1e12).filter(lambda value: value == 0 or abs(value) > 1e-12)


@given(VALUES, VALUES)
def test_ticks_are_round_and_around(one: float, other: float) -> None:
    """They cover the range with at most a step beyond, evenly, and are not too many."""
    low, high = sorted((one, other))
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        return
    ticks = nice_ticks(low, high)
    step = ticks[1] - ticks[0]
    slack = 1e-6 * step
    assert 2 <= len(ticks) <= 8
    assert low - step - slack <= ticks[0] <= low + slack
    assert high - slack <= ticks[-1] <= high + step + slack
    mantissa = step / 10 ** math.floor(math.log10(step * 1.000001))
    assert min(abs(mantissa - round_one) for round_one in (1, 2, 5, 10)) < 1e-3


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, math.inf), (math.nan, 1)])
def test_no_axis(low: float, high: float) -> None:
    """There is none without a range."""
    with pytest.raises(ValueError, match="no axis"):
        nice_ticks(low, high)


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 40), st.floats(0, 1e6)), max_size=6, unique_by=lambda p: p[0]
        ),
        max_size=3,
    ),
    st.booleans(),
)
def test_all_is_in_the_box(curves: list[list[tuple[int, float]]], stacked: bool) -> None:
    """Whatever the values, nothing is drawn outside; a chart without points is none."""
    series = tuple(
        Series(f"s{i}", tuple(Point(x, y, y / 2, y * 2) for x, y in sorted(points)))
        for i, points in enumerate(curves)
    )
    drawing = drawn(Chart("t", series, stacked=stacked))
    if not any(curves):
        assert drawing is None
        return
    assert drawing is not None
    heights = [y for c in drawing.curves for d in c.dots for y in (d.y, d.low, d.high)]
    heights += [y for bar in drawing.bars for y in (bar.y, bar.y + bar.height)]
    heights += [tick.at for tick in drawing.y_ticks]
    assert all(y is not None and 0 <= y <= drawing.bottom + 0.2 for y in heights)
    places = [d.x for c in drawing.curves for d in c.dots]
    places += [x for bar in drawing.bars for x in (bar.x, bar.x + bar.width)]
    assert all(drawing.left - 0.2 <= x <= drawing.right + 0.2 for x in places)


def test_values_and_intervals() -> None:
    """Higher is further up, the interval encloses the point, the text says it all."""
    points = (Point(1, 0.25, 0.1, 0.4), Point(2, 0.75))
    drawing = drawn(Chart("t", (Series("pass", points),), percent=True, top=1.0))
    assert drawing is not None
    first, second = drawing.curves[0].dots
    assert first.y > second.y
    assert first.low is not None
    assert first.high is not None
    assert first.low > first.y > first.high
    assert second.low is None
    assert first.text == "pass, cycle 1: 25.0% [10.0%, 40.0%]"
    assert [tick.text for tick in drawing.y_ticks] == ["0%", "20%", "40%", "60%", "80%", "100%"]
    assert [tick.text for tick in drawing.x_ticks] == ["1", "2"]


def test_bars_stand_on_one_another() -> None:
    """The second part begins where the first ends."""
    series = (Series("a", (Point(1, 3.0),)), Series("b", (Point(1, 2.0),)))
    drawing = drawn(Chart("t", series, stacked=True))
    assert drawing is not None
    lower, upper = drawing.bars
    assert lower.y == pytest.approx(upper.y + upper.height)
    assert upper.height / lower.height == pytest.approx(2 / 3, abs=0.02)
    assert [tick.text for tick in drawing.y_ticks] == ["0", "1", "2", "3", "4", "5"]


def test_equal_curves_lie_beside_each_other() -> None:
    """None hides another, and around the cycle's place they balance; a lone bar is not a wall."""
    points = (Point(1, 0.5), Point(2, 0.5))
    drawing = drawn(Chart("t", tuple(Series(name, points) for name in "abc")))
    assert drawing is not None
    for number, tick in enumerate(drawing.x_ticks):
        places = [curve.dots[number].x for curve in drawing.curves]
        assert places[0] + 3 < places[1] < places[2] - 3
        assert places[1] == pytest.approx(tick.at, abs=0.1)
    lone = drawn(Chart("t", (Series("a", (Point(1, 2.0),)),), stacked=True))
    assert lone is not None
    assert lone.bars[0].width < (lone.right - lone.left) / 4
