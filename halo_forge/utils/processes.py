"""Which of several processes this one is, as `accelerate launch` and `torchrun` tell it."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Place", "place"]


@dataclass(frozen=True, slots=True)
class Place:
    """The place of this process among those that train together.

    Attributes:
        rank: Its number, from 0.
        count: How many there are.
        local: Its number on this machine.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def speaks(self) -> bool:
        """Whether it is the one that writes files and talks to the user."""
        return self.rank == 0


def place() -> Place:
    """Return the place of this process; alone when no launcher says otherwise."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if any(name not in os.environ for name in names):
        return Place()
    return Place(*(int(os.environ[name]) for name in names))
