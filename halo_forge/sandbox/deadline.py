"""When a run has had its time: by the clock, but not while the machine does not let it run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from halo_forge.sandbox.policy import Limits

__all__ = ["STARVATION_FACTOR", "Deadline"]

STARVATION_FACTOR: Final = 8
"""How many times its wall-clock limit a run may take while the machine does not let it run.

After that nothing can be said of the program.
"""

_LOOK_AGAIN = 0.5


class Deadline:
    """Watches the time of one run, from now on.

    Attributes:
        spent: CPU seconds of the run's living processes when it was last looked at.

    Args:
        limits: What the run may use.
        roots: Process ids above or beside which none of the run's processes stands.
    """

    def __init__(self, limits: Limits, roots: tuple[int, ...]) -> None:
        self.spent = 0.0
        self._limits = limits
        self._roots = roots
        self._started = time.monotonic()
        self._next = self._started + limits.wall_seconds

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds until `reached` can say something new."""
        return max(0.0, self._next - time.monotonic())

    def reached(self) -> str:
        """Return ``timeout``, ``starved`` (the machine hardly let it run), or "" to go on."""
        now = time.monotonic()
        if now < self._next:
            return ""
        end = self._started + self._time_allowed()
        if now >= end:
            return "timeout"
        if now >= self._started + self._limits.wall_seconds * STARVATION_FACTOR:
            return "starved"
        self._next = min(end, now + _LOOK_AGAIN)
        return ""

    def look(self) -> list[int]:
        """Add up what the run has `spent` so far, and return its living processes."""
        everyone = list(_family(self._roots))
        self.spent = sum(map(_cpu_time, everyone))
        return everyone

    def _time_allowed(self) -> float:
        """Return how long the run may take, in view of the time the machine did not let it run.

        A process that sleeps waits for nothing, so it gains no time; one that stands in line for a
        core does, as long as the run as a whole has CPU time left.
        """
        self.look()
        wall = self._limits.wall_seconds
        if self.spent >= self._limits.cpu:
            return wall
        return wall + _longest_wait(self._roots)


def _family(roots: tuple[int, ...]) -> Iterator[int]:
    """Yield processes and their descendants, as far as their first threads started them."""
    found = list(roots)
    for process in found:
        yield process
        found += _children(process)


def _children(process: int) -> list[int]:
    try:
        path = Path(f"/proc/{process}/task/{process}/children")
        return [int(word) for word in path.read_text(encoding="ascii").split()]
    except OSError:
        return []


def _longest_wait(roots: tuple[int, ...]) -> float:
    """Return the seconds in line for a core, added up along the line of descent with most of them.

    A child begins when its parent has had its turn, so their waits follow each other: a program's
    clock runs from the start of what starts it. Brothers wait at the same time.
    """
    found, longest = [(root, 0.0) for root in roots], 0.0
    for process, before in found:
        wait = before + _run_delay(process)
        longest = max(longest, wait)
        found += [(child, wait) for child in _children(process)]
    return longest


def _cpu_time(process: int) -> float:
    """Return the CPU seconds of a process and its ended children; see proc_pid_stat(5)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2]
        return sum(map(int, fields.split()[11:15])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return 0.0


def _run_delay(process: int) -> float:
    """Return how long a process stood in line for a core, from ``/proc/PID/schedstat``."""
    try:
        words = Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()
        return int(words[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
