"""The pictures of the documents are made from what the commands print."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tools.pictures import IMAGES, recorded, terminal_svg

ROOT = Path(__file__).parents[2]
RED = "import sys; print('\\x1b[31mred\\x1b[0m', sys.stdout.isatty(), '<script>')"


def test_a_terminal_in_a_picture(tmp_path: Path) -> None:
    """The command has a terminal, its colours are kept, its text is text."""
    picture = terminal_svg(recorded([sys.executable, "-c", RED], tmp_path), "a & b")
    assert "a&#160;&amp;&#160;b" in picture
    assert "True" in picture
    assert "<script" not in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    (red,) = re.findall(r'class="terminal-(r\d+)"[^>]*>red<', picture)
    assert f".terminal-{red} {{ fill: #cc555a }}" in picture
    with pytest.raises(SystemExit, match="failed"):
        recorded([sys.executable, "-c", "raise SystemExit(2)"], tmp_path)


def test_pictures_are_small_and_shown() -> None:
    """Each is light enough to be cloned by everybody, and stands in a document."""
    pictures = sorted((ROOT / IMAGES).iterdir())
    assert 0 < len(pictures) <= 5
    page = (ROOT / "docs/howto/look-into-a-run.md").read_text("utf-8")
    for picture in pictures:
        assert picture.stat().st_size < 300_000
        assert f"../images/{picture.name}" in page
