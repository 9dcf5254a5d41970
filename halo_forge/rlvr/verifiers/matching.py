"""Is this output the expected one? Asked outside the sandbox, from bytes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Literal, get_args

from halo_forge.core.errors import UserError
from halo_forge.sandbox import Job, Limits, Step, python_executable

__all__ = ["MATCH_MODES", "MatchMode", "check_expected", "is_strong", "matches", "search_job"]

MatchMode = Literal["exact", "contains", "regex", "numeric"]
MATCH_MODES: tuple[MatchMode, ...] = get_args(MatchMode)

_RELATIVE = 1e-6
_ABSOLUTE = 1e-9
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?|[+-]?inf", re.ASCII
)

_SEARCH = """\
import json, re, sys
pattern, text = json.load(sys.stdin)
sys.exit(0 if re.search(pattern, text, re.MULTILINE) else 1)
"""


def is_strong(mode: MatchMode) -> bool:
    """Whether only the right output matches; the other modes allow anything around it."""
    return mode in {"exact", "numeric"}


def matches(mode: Literal["exact", "contains", "numeric"], expected: str, actual: str) -> bool:
    """Compare an output with the expected one.

    ``exact`` ignores white space at the ends of lines and empty lines at the end. ``contains``
    looks for the expected text, without the white space around it. ``numeric`` compares word by
    word: integers exactly, other numbers within a relative 1e-6, anything else as text.
    """
    if mode == "contains":
        return expected.strip() in actual.replace("\r\n", "\n")
    if mode == "numeric":
        theirs, ours = actual.split(), expected.split()
        return len(theirs) == len(ours) and all(map(_same_word, ours, theirs))
    return _trimmed(expected) == _trimmed(actual)


def check_expected(mode: MatchMode, expected: str) -> None:
    """Refuse an expected output that no output, or any, could match.

    Raises:
        UserError: With what is wrong with it.
    """
    if mode in {"contains", "regex"} and not expected.strip():
        raise UserError(f"an empty expected output matches anything in match mode {mode!r}")
    if mode == "regex":
        try:
            re.compile(expected)
        except re.error as error:
            raise UserError(f"{expected!r} is no regular expression: {error}") from error


def search_job(pairs: Sequence[tuple[str, str]]) -> Job:
    """Return a job whose runs succeed where a pattern is found in a text.

    Searching happens in the sandbox, under a CPU limit, since some patterns take exponential time
    on texts made for it. No model code runs in that job.
    """
    argv = (python_executable(), "-I", "-S", "-B", "search.py")
    limits = Limits(cpu=2.0, processes=4)
    runs = tuple(Step(argv, json.dumps(pair).encode(), limits) for pair in pairs)
    return Job({"search.py": _SEARCH.encode()}, None, runs)


def _trimmed(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_word(expected: str, actual: str) -> bool:
    if expected == actual:
        return True
    if _INTEGER.fullmatch(expected) and _INTEGER.fullmatch(actual):
        return _canonical(expected) == _canonical(actual)
    if _NUMBER.fullmatch(expected) and _NUMBER.fullmatch(actual):
        return math.isclose(float(expected), float(actual), rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return False


def _canonical(integer: str) -> str:
    # As text: int() refuses numbers of more than 4300 digits.
    digits = integer.lstrip("+-").lstrip("0") or "0"
    return f"-{digits}" if integer.startswith("-") and digits != "0" else digits
