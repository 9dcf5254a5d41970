"""Tiny models of each architecture, and prompts that show pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from halo_forge.core.types import Message, Prompt
from tests.tiny_vlm import KINDS, picture, save_tiny_vlm


@pytest.fixture(scope="session")
def tiny_vlm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a tiny model of an architecture; each is made once."""
    root = tmp_path_factory.mktemp("tiny-vlm")
    made = {kind: root / kind for kind in KINDS}

    def folder(kind: str) -> Path:
        return made[kind] if made[kind].is_dir() else save_tiny_vlm(made[kind], kind)

    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two pictures of different shapes."""
    folder = tmp_path_factory.mktemp("pictures")
    return str(picture(folder / "a.png")), str(picture(folder / "b.png", (30, 70), 1))


@pytest.fixture(scope="session")
def shown(pictures: tuple[str, str]) -> list[Prompt]:
    """Prompts with one picture, with two, with the other one, and with none."""
    a, b = pictures
    ask = (Message("user", "which colour is the shape"),)
    return [
        Prompt("one", ask, images=(a,)),
        Prompt("two", (Message("system", "be short"), *ask), images=(b, a)),
        Prompt("other", ask, images=(b,)),
        Prompt("none", ask),
    ]
