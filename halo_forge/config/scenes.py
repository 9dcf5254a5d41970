"""Settings of the pictures that are drawn for practice (`halo-forge vlm scenes`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from halo_forge.config.base import PositiveInt, Section

__all__ = ["ScenesConfig"]


class ScenesConfig(Section):
    """What is drawn, and how much of it."""

    output: str | None = None
    """Folder for `prompts.jsonl` and its `images`."""

    pictures: PositiveInt = 200
    """How many pictures; each has two questions or more."""

    kinds: tuple[Literal["counting", "chart", "document"], ...] = ("counting", "chart", "document")
    """What is drawn: `counting`, `chart`, `document`, in turn."""

    hardest: int = Field(3, ge=1, le=5)
    """Highest difficulty, 1 to 5; easier pictures come too, and each prompt says how hard it is."""

    size: int = Field(224, ge=96, le=2048)
    """Width and height in pixels."""

    seed: int = Field(0, ge=0)
    """Decides all that is drawn; take another one for held-out questions."""
