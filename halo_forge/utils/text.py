"""Small pure functions on names and texts that several floors share."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

__all__ = ["LANGUAGES", "did_you_mean", "fenced", "json_kind", "language_name", "printable"]

_SPELLINGS = {
    "bash": ("sh", "shell"),
    "c": ("c99", "c11", "c17", "ansi-c"),
    "cpp": ("c++", "cc", "cxx", "cplusplus", "c++11", "c++14", "c++17", "c++20", "c++23"),
    "csharp": ("c#", "cs", "dotnet"),
    "go": ("golang",),
    "haskell": ("hs",),
    "java": (),
    "javascript": ("js", "node"),
    "julia": ("jl",),
    "kotlin": ("kt",),
    "lua": (),
    "perl": ("pl",),
    "php": (),
    "powershell": ("ps1", "pwsh", "posh"),
    "python": ("py", "python3", "py3", "python2", "ipython", "pycon"),
    "r": (),
    "ruby": ("rb",),
    "rust": ("rs",),
    "scala": (),
    "swift": (),
    "typescript": ("ts",),
}

_KINDS = {
    bool: "a boolean",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "a list",
    str: "a string",
}

LANGUAGES: Mapping[str, str] = MappingProxyType(
    {spelling: name for name, others in _SPELLINGS.items() for spelling in (name, *others)}
)
"""Every accepted spelling of a programming language (lower case) and the one name used inside."""


def language_name(text: str) -> str | None:
    """Return the name used inside for a language or fence tag, or ``None`` if it is unknown.

    ::

        language_name("C++")  # "cpp"
        language_name("text")  # None
    """
    return LANGUAGES.get(text.strip().lower())


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def fenced(code: str, tag: str = "") -> str:
    """Return ``code`` as one Markdown code block, whatever back-ticks it holds itself."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{tag}\n{code.rstrip()}\n{fence}"


def json_kind(value: object) -> str:
    """Return what a person calls a JSON value: ``"a list"``, ``"a number"``, ``"null"``..."""
    return _KINDS.get(type(value), "null")


def printable(text: str) -> str:
    """Return ``text`` with control characters replaced, line ends and tabs kept.

    What a model or a compiler said may hold escape sequences that would drive the terminal.
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
