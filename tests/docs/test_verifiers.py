"""The snippets of docs/VERIFIERS.md run as they stand there."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_it import MarkdownIt

PAGE = Path(__file__).parents[2] / "docs" / "VERIFIERS.md"
SNIPPETS = [
    token for token in MarkdownIt().parse(PAGE.read_text("utf-8")) if token.info == "python"
]


@pytest.mark.toolchain("g++")
@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda token: f"line {token.map[0] + 1}")
def test_snippet(snippet) -> None:
    """The snippet runs, and what it asserts holds."""
    exec(compile(snippet.content, str(PAGE), "exec"), {"__name__": "docs"})


def test_there_are_snippets() -> None:
    """Something is tested at all."""
    assert len(SNIPPETS) >= 5
