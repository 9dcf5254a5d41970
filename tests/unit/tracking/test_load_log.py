"""Readings of the hardware in a file that survives a kill."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from halo_forge.tracking.load_log import LoadLog, log_load
from halo_forge.utils.load import GpuLoad, Load, Loads


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row a card, one without cards, each with the stage; a half row is cut off."""
    path = tmp_path / "folder" / "load.csv"
    loads = Loads(tmp_path)
    cards: tuple[GpuLoad, ...] = ()
    monkeypatch.setattr(loads, "read", lambda: Load(12.5, 100, 50, cards))
    log = LoadLog(path, loads)
    log.stage = "baseline"
    log.note()
    cards = (GpuLoad("card0", 90.0, 7, 33.5), GpuLoad("card1"))
    log.note()
    log.close()
    path.write_bytes(path.read_bytes() + b"2026-11-28T00:00,half,1")

    log = LoadLog(path, loads)
    log.stage = "final"
    log.note()
    log.close()

    rows = _rows(path)
    assert [(row["stage"], row["gpu_name"]) for row in rows] == [
        ("baseline", ""),
        ("baseline", "card0"),
        ("baseline", "card1"),
        ("final", "card0"),
        ("final", "card1"),
    ]
    first = rows[1]
    assert (first["cpu_percent"], first["memory_used"], first["gpu_busy_percent"]) == (
        "12.5",
        "100",
        "90.0",
    )
    assert (first["gpu_power_watts"], rows[2]["gpu_power_watts"]) == ("33.5", "")
    assert None not in first


def test_thread_reads_until_the_end(tmp_path: Path) -> None:
    """Readings come while the block runs, and none after it."""
    path = tmp_path / "load.csv"
    with log_load(path, 0.01) as log:
        log.stage = "work"
        while len(_rows(path)) < 3:
            pass
    size = path.stat().st_size
    assert {row["stage"] for row in _rows(path)} <= {"", "work"}
    assert path.stat().st_size == size


def test_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """It is said at the start."""
    with pytest.raises(OSError, match="Is a directory"), log_load(tmp_path, 1):
        pytest.fail("a directory was opened")
