"""What ways of doing the same thing cost, in turns: CPU and wall time, ratios and their spread.

The CPU seconds are those of this process, of all that it started, living or ended, and of all that
those started: the workers of a sandbox and their programs too.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from halo_forge.config.profiles import pick_profile
from halo_forge.config.sections import HardwareSettings
from halo_forge.models.profile import environment
from halo_forge.utils.hardware import card_targets
from halo_forge.utils.kernel_facts import available_cores
from halo_forge.utils.typing import override

__all__ = ["Measured", "Spread", "as_commands_run", "cpu_seconds", "interleave", "ratio"]

_T = TypeVar("_T")
_TICK = os.sysconf("SC_CLK_TCK")
_SETTLED = 0.02


@dataclass(frozen=True)
class Spread:
    """A median, and the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of ``values``."""
        return cls(statistics.median(values), min(values), max(values))

    def scaled(self, factor: float) -> Spread:
        """Return it in another unit."""
        return Spread(self.median * factor, self.least * factor, self.most * factor)

    @override
    def __format__(self, how: str) -> str:
        """Show it as ``median (least to most)``, each number formatted like ``how``."""
        return f"{self.median:{how}} ({self.least:{how}} to {self.most:{how}})"


@dataclass
class Measured(Generic[_T]):
    """One way, measured in each round.

    Attributes:
        cpu: CPU seconds.
        wall: Wall-clock seconds.
        results: What it returned.
    """

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    results: list[_T] = field(default_factory=list)

    def take(self, work: Callable[[], _T]) -> None:
        """Do the work once and note what it cost."""
        used, started = _settled_cpu(), time.perf_counter()
        result = work()
        self.wall.append(time.perf_counter() - started)
        self.cpu.append(_settled_cpu() - used)
        self.results.append(result)

    def after(self, rounds: int) -> Measured[_T]:
        """Return it without its first rounds."""
        return Measured(self.cpu[rounds:], self.wall[rounds:], self.results[rounds:])

    @classmethod
    def together(cls, parts: Iterable[Measured[_T]]) -> Measured[_T]:
        """Return the sum of several, round by round, without what they returned."""
        cpu, wall = zip(*((one.cpu, one.wall) for one in parts), strict=True)
        return cls([*map(sum, zip(*cpu, strict=True))], [*map(sum, zip(*wall, strict=True))])

    def bound(self) -> Spread:
        """Return the least wall-clock time there can be (CPU seconds / cores) over the real one."""
        cores = available_cores()
        return Spread.of([c / cores / w for c, w in zip(self.cpu, self.wall, strict=True)])


def as_commands_run() -> None:
    """Begin this script anew with the variables of the machine's profile, unless they are there.

    A command sets them before it imports torch, which a script has done by now.
    """
    wanted = environment(pick_profile(HardwareSettings(), card_targets()))
    if not wanted.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**wanted, **os.environ})  # noqa: S606


def interleave(ways: Mapping[str, Callable[[], _T]], rounds: int) -> dict[str, Measured[_T]]:
    """Do each way once a round, in an order that is turned round each time.

    So what else the machine does falls on all of them alike.
    """
    measured: dict[str, Measured[_T]] = {name: Measured() for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            measured[name].take(ways[name])
    return measured


def ratio(dear: Measured[_T], cheap: Measured[_T], *, less: float = 0.0) -> Spread:
    """Return how many times the CPU of ``cheap`` the other needs, round by round.

    Args:
        dear: The one above.
        cheap: The one below.
        less: CPU seconds to be taken off each round of ``dear``.
    """
    return Spread.of([(a - less) / b for a, b in zip(dear.cpu, cheap.cpu, strict=True)])


def cpu_seconds() -> float:
    """Return CPU seconds of this process, of its ended children, and of living descendants."""
    own = sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    return own + sum(map(_with_ended_children, _descendants(os.getpid())))


def _settled_cpu() -> float:
    """Return the CPU seconds once nobody cleans up any more."""
    before = cpu_seconds()
    for _ in range(40):
        time.sleep(0.05)
        now = cpu_seconds()
        if now - before <= _SETTLED:
            return now
        before = now
    return before


def _descendants(process: int) -> Iterator[int]:
    """Yield the living and the unburied dead below ``process``; see proc_pid_stat(5)."""
    try:
        tasks = [*Path(f"/proc/{process}/task").iterdir()]
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has just ended
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)


def _with_ended_children(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICK
