"""How tasks of public data sets are put: short, and in the same words for training and judging."""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["ask_for_program"]

_READING = MappingProxyType({
    "c": ("C", "stdin"),
    "cpp": ("C++", "std::cin"),
    "go": ("Go", "os.Stdin"),
    "java": ("Java", "System.in"),
    "python": ("Python", "input() or sys.stdin"),
    "rust": ("Rust", "std::io::stdin()"),
})  # fmt: skip


def ask_for_program(statement: str, language: str) -> str:
    """Return a task for a program on standard input and output in ``language``."""
    title, reading = _READING[language]
    return (
        f"Write a {title} program.\n\n{statement}\n\n"
        f"Use {reading} to read the input. Print only the answer."
    )
