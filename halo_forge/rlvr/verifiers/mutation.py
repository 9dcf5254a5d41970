"""Small changes that make a right program wrong: what good tests must notice.

Lexical, so that one table serves every language: each change replaces one operator, word or number
outside comments and strings (DeMillo, Lipton and Sayward 1978, "Hints on test data selection").
Some changes are equivalent to the original, so a survivor is a question and not a proof.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from halo_forge.rlvr.verifiers.languages import Language
from halo_forge.rlvr.verifiers.lexical import masked_code

__all__ = ["Mutant", "mutants"]

# Angle brackets need blanks around them: without, they may be templates, streams or arrows; and a
# star with a blank on one side only is a pointer.
_SWAPS = {
    r"(?<=\s)<(?=\s)": "<=",
    r"(?<=\s)>(?=\s)": ">=",
    r"(?<![<>=!])<=(?!=)": "<",
    r"(?<![<>=!-])>=(?!=)": ">",
    r"(?<![=!<>])==(?!=)": "!=",
    r"!=(?!=)": "==",
    r"(?<=[\w)\]])\s*\+(?![+=])(?=\s*[\w(])": "-",
    r"(?<=[\w)\]])\s*-(?![-=>])(?=\s*[\w(])": "+",
    r"(?<=\s)\*(?=\s)|(?<=[\w)\]])\*(?=[\w(])": "+",
    r"(?<=[\w)\]])\s*%(?!=)(?=\s*[\w(])": "*",
    r"(?<![+])\+=": "-=",
    r"(?<![-])-=": "+=",
    r"&&": "||",
    r"\|\|": "&&",
    r"\band\b": "or",
    r"\bor\b": "and",
    r"\bTrue\b": "False",
    r"\bFalse\b": "True",
    r"\btrue\b": "false",
    r"\bfalse\b": "true",
    r"\bmin\b(?=\s*\()": "max",
    r"\bmax\b(?=\s*\()": "min",
}
_SWAP = [(re.compile(pattern), new) for pattern, new in _SWAPS.items()]
_NUMBER = re.compile(r"(?<![\w.])\d{1,9}(?![\w.])")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A program with one change.

    Attributes:
        code: The changed program.
        line: Where, from 1.
        change: What was replaced by what.
    """

    code: str
    line: int
    change: str


def mutants(code: str, language: Language, *, limit: int, seed: int = 0) -> list[Mutant]:
    """Return up to ``limit`` different changes of a program, spread over it at random."""
    sites = sorted(set(_sites(masked_code(code, language))))
    random.Random(seed).shuffle(sites)  # noqa: S311 - a choice, no secret
    chosen = sorted(sites[:limit])
    return [
        Mutant(
            code=code[:start] + new + code[end:],
            line=code.count("\n", 0, start) + 1,
            change=f"{code[start:end].strip()} became {new.strip()}",
        )
        for start, end, new in chosen
    ]


def _sites(masked: str) -> Iterator[tuple[int, int, str]]:
    for pattern, new in _SWAP:
        for found in pattern.finditer(masked):
            blanks = len(found[0]) - len(found[0].lstrip())
            yield found.start() + blanks, found.end(), new
    for found in _NUMBER.finditer(masked):
        yield found.start(), found.end(), str(int(found[0]) + 1)
