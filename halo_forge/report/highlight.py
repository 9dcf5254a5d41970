"""Source code cut into pieces of one kind each, for the terminal and for HTML.

The pieces are plain text in which control characters are replaced; who draws them escapes them.
"""

from __future__ import annotations

from collections.abc import Iterator

from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, String, Token
from pygments.util import ClassNotFound

from halo_forge.utils.text import printable

__all__ = ["LONGEST", "Line", "highlighted"]

Line = tuple[tuple[str, str], ...]
"""Pieces of one line: the kind (``""`` for none) and the text, without the line's end."""

LONGEST = 20_000
"""Characters of code that are highlighted and shown at most."""

_KINDS = {
    Comment.Preproc: "preprocessor",
    Comment.PreprocFile: "string",
    Comment: "comment",
    Keyword: "keyword",
    String: "string",
    Number: "number",
    Name.Function: "name",
    Name.Class: "name",
    Name.Builtin: "builtin",
}


def highlighted(code: str, language: str | None) -> list[Line]:
    """Return the lines of ``code`` in pieces; empty lines at its end are left out.

    Args:
        code: Any text. Beyond 20,000 characters it stays plain: lexers are made for people's code,
            and may be slow on anything else.
        language: Its name as in `halo_forge.utils.text.LANGUAGES`; plain text when absent or
            unknown.
    """
    shown = printable(code).rstrip("\n")
    if not shown:
        return []
    lines: list[list[tuple[str, str]]] = [[]]
    # With its end: lexers know a comment by the end of its line.
    for kind, text in _pieces(shown + "\n", language):
        first, *others = text.split("\n")
        if first:
            lines[-1].append((kind, first))
        lines.extend([(kind, other)] if other else [] for other in others)
    return [tuple(line) for line in lines[:-1]]


def _pieces(code: str, language: str | None) -> Iterator[tuple[str, str]]:
    if language is None or len(code) > LONGEST:
        yield "", code
        return
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        yield "", code
        return
    for token, text in lexer.get_tokens(code):
        yield _kind(token), text


def _kind(token: type[Token]) -> str:
    while token is not Token:
        if token in _KINDS:
            return _KINDS[token]
        token = token.parent
    return ""
