"""How far a stage is: the arithmetic and the words that every display shares."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["PATIENCE", "Meter", "clock_text"]

PATIENCE = 300.0
"""Seconds without a finished unit after which a display says so."""


@dataclass
class Meter:
    """Counts the units of one stage.

    Attributes:
        name: Name of the stage.
        total: Units in all, or None when unknown.
        done: Units finished, by earlier attempts too.
        unit: Name of a unit in the plural.
        clock: Seconds on any clock that only moves forward.
        info: Latest figures to show.
    """

    name: str
    total: int | None
    done: int
    unit: str
    clock: Callable[[], float]
    info: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start the clock."""
        self.started = self.moved = self.clock()
        self._inherited = self.done
        self._lock = threading.Lock()

    def advance(self, n: int = 1, **info: float) -> None:
        """Count ``n`` more units and take the latest figures."""
        with self._lock:
            self.done += n
            self.info |= info
            self.moved = self.clock()

    @property
    def idle(self) -> float:
        """Seconds since the last finished unit."""
        return self.clock() - self.moved

    @property
    def rate(self) -> float:
        """Units a second in this attempt."""
        return (self.done - self._inherited) / max(self.clock() - self.started, 1e-9)

    @property
    def remaining(self) -> float | None:
        """Seconds until the stage is done, or None when nothing tells."""
        if self.total is None or not self.rate:
            return None
        return max(self.total - self.done, 0) / self.rate

    def progress_text(self) -> str:
        """Say where the stage is: `412/1280 samples, 3.2/s, pass rate 41.2%, ETA 04:31`."""
        parts = [self._count()]
        if self.rate:
            parts.append(f"{self.rate:.1f}/s" if self.rate >= 1 else f"{1 / self.rate:.1f} s each")
        parts += self._figures()
        if self.remaining is not None:
            parts.append(f"ETA {clock_text(self.remaining)}")
        if self.idle >= PATIENCE:
            parts.append(f"nothing finished for {clock_text(self.idle)}")
        return ", ".join(parts)

    def final_text(self) -> str:
        """Say how the stage ended: `1280/1280 samples in 06:40, pass rate 41.2%`."""
        took = f"{self._count()} in {clock_text(self.clock() - self.started)}"
        return ", ".join([took, *self._figures()])

    def _count(self) -> str:
        of = "" if self.total is None else f"/{self.total}"
        return f"{self.done}{of} {self.unit}".rstrip()

    def _figures(self) -> list[str]:
        return [_figure(name, value) for name, value in self.info.items()]


def clock_text(seconds: float) -> str:
    """Return seconds as ``MM:SS`` or ``H:MM:SS``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"


def _figure(name: str, value: float) -> str:
    words = name.replace("_", " ")
    if name.endswith(("rate", "fraction")):
        return f"{words} {value:.1%}"
    if name.endswith("_per_s"):
        return f"{value:.4g} {words.removesuffix(' per s')}/s"
    return f"{words} {value:.4g}"
