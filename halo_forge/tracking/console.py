"""What a person sees while a run goes: a live display, or lines that a log file can hold.

Everything goes to stderr: stdout belongs to results.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID
from rich.text import Text

from halo_forge.tracking.base import NullObserver, Observer, Stage
from halo_forge.tracking.meter import PATIENCE, Meter
from halo_forge.utils.text import printable
from halo_forge.utils.typing import override

__all__ = ["Herald", "PlainObserver", "RichObserver", "make_observer"]

_LINE_EVERY = 30.0
_Clock = Callable[[], float]


def _write_line(text: str) -> None:
    # One call for text and line end: stages that overlap write from threads of their own.
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def make_observer(mode: str | None, quiet: bool) -> Observer:
    """Return the observer that fits the terminal.

    Args:
        mode: ``rich``, ``plain``, ``none``, or ``auto`` (also None): live on a terminal.
        quiet: Show nothing.
    """
    if quiet or mode == "none":
        return NullObserver()
    live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if mode == "rich" or (mode in {None, "auto"} and live):
        return RichObserver(Console(stderr=True, force_terminal=True, highlight=False))
    return PlainObserver()


class RichObserver:
    """A bar for each stage with rate, remaining time and the latest figures.

    Args:
        console: Where it is drawn; colour follows ``NO_COLOR``.
        clock: Seconds, for the rates.
    """

    def __init__(self, console: Console, clock: _Clock = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()
        self._open = 0
        self._progress = Progress(
            SpinnerColumn(),
            _Words(lambda meter: meter.name),
            BarColumn(bar_width=16),
            _Words(Meter.progress_text),
            console=console,
            transient=True,
            redirect_stdout=False,
        )

    def message(self, text: str) -> None:
        """Print one line above the bars."""
        self._console.print(Text(printable(text)), soft_wrap=True)

    @contextmanager
    def stage(self, name: str, total: int | None, done: int = 0, unit: str = "") -> Iterator[Stage]:
        """Show a bar until the block ends, then one line that stays."""
        meter = Meter(name, total, done, unit, self._clock)
        task = self._progress.add_task("", total=total, completed=done, meter=meter)
        self._count(+1)
        try:
            yield _Bar(meter, lambda: self._redraw(task, meter))
        finally:
            self._progress.remove_task(task)
            self._count(-1)
            self.message(f"{name}: {meter.final_text()}")

    def _redraw(self, task: TaskID, meter: Meter) -> None:
        # A worker may report its last unit just after the block has ended.
        with suppress(KeyError):
            self._progress.update(task, completed=meter.done)

    def _count(self, change: int) -> None:
        """Run the display exactly while a stage is open."""
        with self._lock:
            self._open += change
            if self._open == 0:
                self._progress.stop()
            elif change > 0 and self._open == 1:
                self._progress.start()


class _Bar:
    """A stage that redraws its bar."""

    def __init__(self, meter: Meter, redraw: Callable[[], None]) -> None:
        self._meter = meter
        self._redraw = redraw

    def advance(self, n: int = 1, **info: float) -> None:
        self._meter.advance(n, **info)
        self._redraw()


class _Words(ProgressColumn):
    """A column of words about the stage's meter, never read as markup."""

    def __init__(self, words: Callable[[Meter], str]) -> None:
        super().__init__()
        self._words = words

    @override
    def render(self, task: Task) -> Text:
        return Text(printable(self._words(task.fields["meter"])), no_wrap=True)


class PlainObserver:
    """One line every 30 seconds in which something moved, and a word when nothing does.

    Args:
        write: Takes one line.
        clock: Seconds, for rates and silence.
    """

    def __init__(
        self, write: Callable[[str], None] = _write_line, clock: _Clock = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock

    def message(self, text: str) -> None:
        """Write one line."""
        self._write(printable(text))

    @contextmanager
    def stage(self, name: str, total: int | None, done: int = 0, unit: str = "") -> Iterator[Stage]:
        """Write lines about a stage until the block ends, and one for its end."""
        meter = Meter(name, total, done, unit, self._clock)
        ended = threading.Event()
        threading.Thread(target=self._watch, args=(Herald(meter), ended), daemon=True).start()
        try:
            yield meter
        finally:
            ended.set()
            self.message(f"{name}: {meter.final_text()}")

    def _watch(self, herald: Herald, ended: threading.Event) -> None:
        while not ended.wait(_LINE_EVERY):
            line = herald.line()
            if line is not None:
                self.message(line)


class Herald:
    """Knows when there is something new to say about a stage."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._told = meter.done
        self._patience = PATIENCE

    def line(self) -> str | None:
        """Return a line when units were finished since the last, or none for too long."""
        if self._meter.done != self._told:
            self._told = self._meter.done
            self._patience = PATIENCE
        elif self._meter.idle >= self._patience:
            self._patience = self._meter.idle + PATIENCE
        else:
            return None
        return f"{self._meter.name}: {self._meter.progress_text()}"
