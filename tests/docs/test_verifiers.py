"""The snippets of docs/VERIFIERS.md run as they stand there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from halo_forge.core import registry

PAGE = Path(__file__).parents[2] / "docs" / "VERIFIERS.md"
SNIPPETS = [
    token for token in MarkdownIt().parse(PAGE.read_text("utf-8")) if token.info == "python"
]


@pytest.mark.toolchain("g++")
@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda token: f"line {token.map[0] + 1}")
def test_snippet(snippet) -> None:
    """The snippet runs, and what it asserts holds."""
    exec(compile(snippet.content, str(PAGE), "exec"), {"__name__": "docs"})


def _table(title: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its head."""
    section = PAGE.read_text("utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


def test_every_verifier_is_in_the_table() -> None:
    """The table names what is registered, and nothing else."""
    named = [name for row in _table("Which one") for name in re.findall(r"`([a-z]+)`", row[0])]
    assert sorted(named) == registry.names("verifiers")


def test_constructors_are_those_of_the_code() -> None:
    """Arguments and defaults in the table are the constructors' own, for every verifier."""
    told = {
        kind: re.findall(r"`([^`]+)`", arguments)
        for kinds, arguments in _table("Constructors")
        for kind in re.findall(r"`(\w+)`", kinds)
    }
    known = {}
    for name in registry.names("verifiers"):
        kind = registry.load("verifiers", name)
        known[kind.__name__] = [
            one.name
            if one.default is one.empty
            else f"{one.name}={one.default!r}".replace("'", '"')
            for one in inspect.signature(kind).parameters.values()
            if one.name not in {"max_workers", "sandbox"}
        ]
    assert told == known


def test_there_are_snippets() -> None:
    """Something is tested at all."""
    assert len(SNIPPETS) >= 5
