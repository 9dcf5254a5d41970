"""Which prompts a run solves for the first time, and which it loses: pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from halo_forge.report.grid import Grid
from halo_forge.report.samples import Answer

__all__ = ["Movement", "movements", "movements_grid"]

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Movement:
    """What changed with one cycle.

    Attributes:
        cycle: The cycle.
        asked: Prompts with at least one judged answer.
        solved: Those of them with at least one answer that passes.
        first: Ids of prompts solved here and in no cycle before.
        lost: Ids of prompts not solved here, but when they were asked last.
    """

    cycle: int
    asked: int
    solved: int
    first: tuple[str, ...]
    lost: tuple[str, ...]


def movements(answers: Iterable[Answer]) -> list[Movement]:
    """Return what changed with each cycle, from answers of one kind in the order of cycles."""
    cycles: dict[int, dict[str, bool]] = {}
    for answer in answers:
        prompts = cycles.setdefault(answer.cycle, {})
        prompts[answer.prompt_id] = prompts.get(answer.prompt_id, False) or answer.result.success
    ever: set[str] = set()
    latest: dict[str, bool] = {}
    moved = []
    for cycle, prompts in cycles.items():
        solved = {name for name, passed in prompts.items() if passed}
        first = tuple(name for name in prompts if name in solved - ever)
        lost = tuple(name for name in prompts if name not in solved and latest.get(name))
        moved.append(Movement(cycle, len(prompts), len(solved), first, lost))
        ever |= solved
        latest |= prompts
    return moved


def movements_grid(moved: Iterable[Movement], title: str) -> Grid:
    """Return one row a cycle; long lists of prompts are cut, their length is not."""
    rows = tuple(
        (
            str(one.cycle) if one.cycle else "before",
            f"{one.solved} of {one.asked}",
            _named(one.first),
            _named(one.lost),
        )
        for one in moved
    )
    return Grid(("cycle", "solved", "for the first time", "lost"), rows, title, wide=True)


def _named(ids: tuple[str, ...]) -> str:
    if not ids:
        return "0"
    names = ", ".join(ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")
    return f"{len(ids)}: {names}"
