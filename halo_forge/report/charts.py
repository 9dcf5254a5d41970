"""Small charts as plain numbers, ready to be drawn as SVG: pure geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "Bar",
    "Chart",
    "Curve",
    "Dot",
    "Drawing",
    "Point",
    "Series",
    "Tick",
    "drawn",
    "nice_ticks",
]

_WIDTH, _HEIGHT = 420, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 26
_TICKS = 5
_BAR, _WIDEST_BAR = 0.6, 60.0
_APART = 6.0
_TINY = 1e-300
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a cycle, with its interval where there is one."""

    x: int
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """A named curve; without points it is left out."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """What to draw.

    Attributes:
        title: Its heading.
        series: Curves, or the parts of stacked bars from below.
        percent: The values are rates from 0 to 1, written in percent.
        top: The axis reaches from 0 at least to here.
        stacked: Bars that stand on one another, instead of curves.
    """

    title: str
    series: tuple[Series, ...]
    percent: bool = False
    top: float = 0.0
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, in pixels, and its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A point in pixels: its place, the ends of its interval, and what it says."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve in pixels; ``path`` is the value of a polyline's ``points``."""

    name: str
    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a bar in pixels; ``series`` numbers what it is part of."""

    series: int
    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart in pixels of a box of ``width`` by ``height``; y grows downwards."""

    title: str
    names: tuple[str, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    curves: tuple[Curve, ...]
    bars: tuple[Bar, ...]
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = _WIDTH - _RIGHT
    bottom: int = _HEIGHT - _BOTTOM


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values lie in the box."""

    first: int
    last: int
    low: float
    high: float

    def x(self, value: float) -> float:
        width = _WIDTH - _LEFT - _RIGHT
        # Half a step of room at both ends, so that points and bars do not touch the border.
        return round(_LEFT + width * (value - self.first + 0.5) / (self.last - self.first + 1), 1)

    def y(self, value: float) -> float:
        height = _HEIGHT - _TOP - _BOTTOM
        return round(_TOP + height * (1 - (value - self.low) / (self.high - self.low)), 1)

    @property
    def step(self) -> float:
        return (_WIDTH - _LEFT - _RIGHT) / (self.last - self.first + 1)


def drawn(chart: Chart) -> Drawing | None:
    """Return ``chart`` in pixels; None when it has no point."""
    series = tuple(one for one in chart.series if one.points)
    if not series:
        return None
    numbers = [point.x for one in series for point in one.points]
    low, high = _range(chart, series)
    levels = nice_ticks(low, high)
    frame = _Frame(min(numbers), max(numbers), min(low, levels[0]), max(high, levels[-1]))
    return Drawing(
        title=chart.title,
        names=tuple(one.name for one in series),
        x_ticks=_x_ticks(frame, sorted(set(numbers))),
        y_ticks=tuple(Tick(frame.y(v), _level(v, chart)) for v in levels),
        curves=() if chart.stacked else _curves(series, frame, chart),
        bars=_bars(series, frame, chart) if chart.stacked else (),
    )


def nice_ticks(low: float, high: float) -> list[float]:
    """Return round values from ``low`` to ``high``, at most one step beyond either.

    Steps are 1, 2 or 5 times a power of ten.

    Raises:
        ValueError: If ``low`` is not below ``high``, or one is not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"no axis from {low} to {high}")
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + _SLACK), math.ceil(high / step - _SLACK)
    return [number * step for number in range(first, last + 1)]


def _range(chart: Chart, series: Sequence[Series]) -> tuple[float, float]:
    """Return the ends of the axis of values; 0 is always between them, so no change looks big."""
    ends = [0.0, chart.top]
    if chart.stacked:
        sums: dict[int, float] = {}
        for one in series:
            for point in one.points:
                sums[point.x] = sums.get(point.x, 0) + point.y
        ends += sums.values()
    else:
        points = [point for one in series for point in one.points]
        ends += [end for p in points for end in (p.y, p.low, p.high) if end is not None]
    low, high = min(ends), max(ends)
    return (low, high) if high - low > _TINY else (0.0, 1.0)


def _x_ticks(frame: _Frame, numbers: Sequence[int]) -> tuple[Tick, ...]:
    stride = math.ceil(len(numbers) / 12)
    return tuple(Tick(frame.x(n), str(n)) for n in numbers[::stride])


def _curves(series: Sequence[Series], frame: _Frame, chart: Chart) -> tuple[Curve, ...]:
    """Return the curves a little beside each other, so that none hides another that is equal."""
    apart = min(_APART, frame.step / (2 * len(series)))
    first = -apart * (len(series) - 1) / 2
    return tuple(_curve(one, frame, chart, first + apart * n) for n, one in enumerate(series))


def _curve(series: Series, frame: _Frame, chart: Chart, aside: float) -> Curve:
    dots = tuple(
        Dot(
            x=round(frame.x(point.x) + aside, 1),
            y=frame.y(point.y),
            low=None if point.low is None else frame.y(point.low),
            high=None if point.high is None else frame.y(point.high),
            text=_said(series.name, point, chart),
        )
        for point in series.points
    )
    return Curve(series.name, " ".join(f"{dot.x},{dot.y}" for dot in dots), dots)


def _level(value: float, chart: Chart) -> str:
    return f"{value:.0%}" if chart.percent else f"{value:.6g}"


def _said(name: str, point: Point, chart: Chart) -> str:
    def text(value: float) -> str:
        return f"{value:.1%}" if chart.percent else f"{value:.4g}"

    said = f"{name}, cycle {point.x}: {text(point.y)}"
    if point.low is not None and point.high is not None:
        said += f" [{text(point.low)}, {text(point.high)}]"
    return said


def _bars(series: Sequence[Series], frame: _Frame, chart: Chart) -> tuple[Bar, ...]:
    bars = []
    heights: dict[int, float] = {}
    width = round(min(frame.step * _BAR, _WIDEST_BAR), 1)
    for number, one in enumerate(series):
        for point in one.points:
            below = heights.get(point.x, 0.0)
            heights[point.x] = below + point.y
            top = frame.y(below + point.y)
            x = round(frame.x(point.x) - width / 2, 1)
            height = round(frame.y(below) - top, 1)
            bars.append(Bar(number, x, top, width, height, _said(one.name, point, chart)))
    return tuple(bars)
