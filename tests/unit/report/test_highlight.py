"""Highlighting colours text and changes none of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.report.highlight import highlighted
from halo_forge.utils.text import printable

LANGUAGES = st.sampled_from(["cpp", "python", "rust", "go", "csharp", "powershell", "html", None])


@settings(max_examples=40)
@given(st.text(), LANGUAGES)
def test_no_text_is_lost(code: str, language: str | None) -> None:
    """The pieces together are the code, with control characters replaced."""
    lines = ["".join(text for _, text in line) for line in highlighted(code, language)]
    shown = printable(code).rstrip("\n")
    assert lines == (shown.split("\n") if shown else [])


@pytest.mark.parametrize(
    ("language", "line", "kinds"),
    [
        (
            "cpp",
            "#include <x>\nint f(); // a",
            {"preprocessor", "keyword", "comment"},
        ),
        ("python", 'def f(): return len("a") + 1', {"keyword", "name", "builtin", "string"}),
        ("no such language", "int x;", {""}),
        (None, "int x;", {""}),
    ],
)
def test_kinds(language: str | None, line: str, kinds: set[str]) -> None:
    """The pieces that people look for are told apart; an unknown language is plain."""
    assert {kind for found in highlighted(line, language) for kind, _ in found} >= kinds


def test_a_long_text_stays_plain() -> None:
    """No lexer is asked about it."""
    lines = highlighted("int x;\n" * 5_000, "cpp")
    assert {kind for line in lines for kind, _ in line} == {""}
