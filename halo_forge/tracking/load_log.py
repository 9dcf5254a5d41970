"""Readings of the hardware while something runs, as a CSV file."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from datetime import UTC, datetime
from pathlib import Path

from halo_forge.utils.load import GpuLoad, Loads

__all__ = ["LoadLog", "log_load"]

_HEADER = (
    *("time", "stage", "cpu_percent", "memory_used", "process_memory"),
    *(f"gpu_{field.name}" for field in fields(GpuLoad)),
)


class LoadLog:
    """Appends one row a reading, of several cards one row each; `stage` names what runs.

    Args:
        path: The file; continued when it exists. A row that a kill left half-written is cut off.
        loads: Reads the hardware.

    Raises:
        OSError: If the file cannot be opened or a row cannot be written.
    """

    def __init__(self, path: Path, loads: Loads) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._loads = loads
        self.stage = ""
        self._file = path.open("r+b" if path.exists() else "x+b")
        whole = self._file.read().rfind(b"\n") + 1
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._write([_HEADER])

    def note(self) -> None:
        """Read the hardware and append what it says."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        load = self._loads.read()
        start = (now, self.stage, load.cpu_percent, load.memory_used, load.process_memory)
        cards = load.gpus or (GpuLoad(""),)
        self._write([(*start, *astuple(card)) for card in cards])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, rows: list[tuple[object, ...]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode())
        self._file.flush()


@contextmanager
def log_load(path: Path, seconds: float) -> Iterator[LoadLog]:
    """Read the hardware every so many seconds, on a thread, until the block ends.

    A disk that refuses a row ends the readings and nothing else.

    Args:
        path: The CSV file.
        seconds: Between two readings.

    Raises:
        OSError: If the file cannot be opened.
    """
    log = LoadLog(path, Loads())
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(seconds):
            try:
                log.note()
            except OSError:
                return

    thread = threading.Thread(target=watch, name="load", daemon=True)
    thread.start()
    try:
        yield log
    finally:
        ended.set()
        thread.join()
        log.close()
