"""The plan of a run as tables, words and a document; pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from halo_forge.report.grid import Grid
from halo_forge.tracking.meter import clock_text

if TYPE_CHECKING:
    from halo_forge.rlvr.planned import Forecast, Stage

__all__ = ["plan_document", "plan_grids", "plan_words", "range_text"]

_NONE = "-"
_GIBI, _MEBI = 2**30, 2**20


def plan_grids(found: Forecast) -> list[Grid]:
    """Return what a plan says as tables: time by stage, memory by stage, disk."""
    times = [_time_row(stage) for stage in found.stages]
    times.append(("whole run", "", range_text(found.seconds), "", "", ""))
    memory = [
        (stage.name if not number else "", what, _gib(size))
        for stage in found.stages
        for number, (what, size) in enumerate(_with_sum(stage.memory).items())
    ]
    disk = [(what, _mib(size)) for what, size in _with_sum(found.disk).items() if size]
    return [
        Grid(
            ("stage", "times", "each", "not under", "decided by", "how"),
            tuple(times),
            "Time",
            wide=True,
        ),
        Grid(("stage", "taken by", "at most"), tuple(memory), "Memory", wide=True),
        Grid(("", "for all cycles"), tuple(disk), "Disk"),
    ]


def plan_words(found: Forecast) -> Iterator[str]:
    """Yield the lines below the tables."""
    yield f"Memory: {_gib(found.peak)} at most; the run may take {_gib(found.free)}."
    yield f"Disk: {_mib(sum(found.disk.values()))}; {_gib(found.disk_free)} free."
    yield f"Time: {range_text(found.seconds)}."
    for line in found.assumptions:
        yield f"Assumed: {line}."


def plan_document(found: Forecast) -> dict[str, Any]:
    """Return a plan as plain values: bytes and seconds."""
    return {
        "fits": not found.problems,
        "problems": list(found.problems),
        "assumptions": list(found.assumptions),
        "memory": {"peak": found.peak, "free": found.free},
        "disk": {**found.disk, "total": sum(found.disk.values()), "free": found.disk_free},
        "seconds": _ends(found.seconds),
        "stages": [
            {
                "name": stage.name,
                "times": stage.times,
                "memory": dict(stage.memory),
                "seconds": _ends(stage.seconds),
                "roofline_seconds": stage.least,
                "limit": stage.limit,
                "how": stage.note,
            }
            for stage in found.stages
        ],
    }


def range_text(seconds: tuple[float, float] | None) -> str:
    """Return seconds as ``MM:SS``, or as a range where the ends differ."""
    if seconds is None:
        return "unknown"
    low, high = (clock_text(end) for end in seconds)
    return low if low == high else f"{low} to {high}"


def _time_row(stage: Stage) -> tuple[str, ...]:
    least = clock_text(stage.least) if stage.least else _NONE
    each = range_text(stage.seconds)
    return stage.name, str(stage.times), each, least, stage.limit, stage.note


def _with_sum(parts: Mapping[str, int]) -> dict[str, int]:
    return {**parts, "in all": sum(parts.values())} if parts else {}


def _ends(seconds: tuple[float, float] | None) -> dict[str, float] | None:
    return None if seconds is None else {"low": seconds[0], "high": seconds[1]}


def _gib(size: int) -> str:
    return f"{size / _GIBI:.2f} GiB"


def _mib(size: int) -> str:
    return f"{size / _MEBI:.1f} MiB"
