"""Does what comes before the answer carry it? Only what can be checked counts.

Steps are the sentences beside the final answer. Stock phrases ("looking at the image") hold
nothing to check and change nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from halo_forge.rlvr.verifiers.vision.answers import normalised, sentences, words_of
from halo_forge.rlvr.verifiers.vision.quantity import NUMBER_WORDS, parse_quantity

__all__ = ["Equation", "Reasoning", "equations", "reason"]

_NEUTRAL, _CARRIED = 0.5, 1.0
_FAULT = 0.25
_ROUNDED = Fraction(1, 100)
_LEAST_CONTENT = 2

_NUMBER = r"-?\$?[0-9][0-9,]*(?:\.[0-9]+)?%?"
_EQUATION = re.compile(
    rf"(?<![\w.+*/-])({_NUMBER}(?:\s*[-+*/x\u00d7\u00f7\u2212]\s*{_NUMBER}){{1,20}})\s*=\s*({_NUMBER})"
)
_TERM = re.compile(rf"({_NUMBER})|([-+*/x\u00d7\u00f7\u2212])")
_ANSWERS = re.compile(r"\b(?:answer\b|\\boxed\{)|</?answer>", re.IGNORECASE)
_CONCLUDES = re.compile(r"^(?:so|therefore|thus|hence)\b", re.IGNORECASE)
_TOTAL = re.compile(
    r"\bthere (?:is|are) (no|[0-9]+|[a-z]+) ([a-z]+)(?=\s*[.,;!]|\s*$|\s+in the)", re.I
)
_EMPTY_WORDS = frozenset({
    "a", "an", "the", "is", "are", "was", "were", "be", "this", "that", "these", "those", "it",
    "its", "there", "here", "i", "we", "can", "could", "see", "seen", "look", "looking",
    "looks", "at", "in", "on", "of", "to", "and", "so", "thus", "therefore", "hence", "image",
    "picture", "photo", "photograph", "visible", "shown", "shows", "show", "depicted", "scene",
    "carefully", "closely", "step", "by", "think", "let", "lets", "me", "us", "first", "then",
    "next", "now", "based", "clearly", "clear", "evident", "observe", "observing", "analysis",
    "analyzing", "detail", "details", "visual", "given", "question", "asks", "answer", "final",
    "correct", "which", "what", "how", "with", "as", "for", "from",
})  # fmt: skip
"""Words that say nothing about any image."""
_NEGATIONS = frozenset(["no", "not", "isnt", "arent", "never", "without", "nor", "doesnt"])


@dataclass(frozen=True, slots=True)
class Equation:
    """A sum that a text does.

    Attributes:
        text: As it stands there.
        operands: Its numbers.
        result: What the text says it is.
        holds: Whether it is.
    """

    text: str
    operands: tuple[Fraction, ...]
    result: Fraction
    holds: bool


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What was found in the steps.

    Attributes:
        score: 1 where steps lead to the answer, 0.5 where there is nothing to check, and a quarter
            less for each fault; in [0, 1].
        steps: How many sentences there are beside the answer.
        carried: A step names the answer together with something else, or a sum ends in it.
        faults: What is wrong, in words.
    """

    score: float
    steps: int
    carried: bool
    faults: tuple[str, ...]


def reason(text: str, answer: str) -> Reasoning:
    """Return what the steps before an answer are worth.

    Args:
        text: The whole text.
        answer: Its final answer.
    """
    parts = sentences(text)
    steps = [one for one in parts if not _ANSWERS.search(one)] if len(parts) > 1 else []
    sums = list(equations(text))
    faults = [f"{one.text} is wrong" for one in sums if not one.holds]
    faults += _contradictions(steps, answer)
    faults += _repetitions(steps)
    carried = not faults and (_leads_to(sums, answer) or any(_names(one, answer) for one in steps))
    score = _CARRIED if carried else max(0.0, _NEUTRAL - _FAULT * len(faults))
    return Reasoning(score, len(steps), carried, tuple(faults))


def equations(text: str) -> Iterator[Equation]:
    """Yield the sums in a text: numbers with + - * / between them, and what they are said to be.

    Multiplication before addition; a result may be rounded to the digits that it shows.
    """
    for found in _EQUATION.finditer(text):
        terms = _TERM.findall(found[1].replace(",", ""))
        numbers = [_number(number) for number, _ in terms if number]
        signs = [sign for _, sign in terms if sign]
        if len(numbers) != len(signs) + 1:
            continue  # "3 -2": the sign belongs to the number, and nothing joins the two
        value, result = _evaluated(numbers, signs), _number(found[2])
        if value is None:
            continue
        shown = Fraction(1, 2 * 10 ** len(found[2].rstrip("%").partition(".")[2]))
        slack = shown if value.denominator != 1 else Fraction(0)
        if "%" in found[0]:
            slack = max(slack, _ROUNDED * abs(value))
        holds = abs(value - result) <= slack or _as_share(value, found[2]) == result
        yield Equation(found[0], tuple(numbers), result, holds)


def _as_share(value: Fraction, result: str) -> Fraction | None:
    """Return a share as percent, rounded as the result is: ``1/4 = 25%``."""
    if not result.endswith("%"):
        return None
    digits = len(result.rstrip("%").partition(".")[2])
    return Fraction(round(value * 100 * 10**digits), 10**digits)


def _number(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace("$", "").rstrip("%"))


def _evaluated(numbers: Sequence[Fraction], signs: Sequence[str]) -> Fraction | None:
    total, term = Fraction(0), numbers[0]
    for sign, number in zip(signs, numbers[1:], strict=True):
        if sign in "*x\u00d7":
            term *= number
        elif sign in "/\u00f7":
            if not number:
                return None
            term /= number
        else:
            total, term = total + term, number if sign == "+" else -number
    return total + term


def _leads_to(sums: Sequence[Equation], answer: str) -> bool:
    """Tell whether a sum that holds ends in the answer."""
    wanted = parse_quantity(answer.casefold(), frozenset(words_of(answer)))
    if wanted is None:
        return False
    return any(one.holds and one.result in {wanted.value, wanted.value * 100} for one in sums)


def _names(step: str, answer: str) -> bool:
    """Tell whether a step names the answer, does not deny it, and says something else beside."""
    words, wanted = _digits(words_of(step)), _digits(words_of(normalised(answer)))
    if not wanted or not _within(wanted, words) or _NEGATIONS & set(words):
        return False
    return len(set(words) - _EMPTY_WORDS - set(wanted)) >= _LEAST_CONTENT


def _contradictions(steps: Sequence[str], answer: str) -> Iterator[str]:
    """Yield where steps deny the answer, conclude something else, or disagree with each other."""
    wanted = _digits(words_of(normalised(answer)))
    totals: dict[str, str] = {}
    for step in steps:
        words = _digits(words_of(step))
        if wanted and _denies(words, wanted):
            yield f"denies the answer: {step[:80]}"
        elif _concludes_otherwise(step, words, wanted):
            yield f"concludes something else: {step[:80]}"
        for number, thing in _TOTAL.findall(step):
            count = _digits([number.lower()])[0]
            if not count.isdigit() and count != "no":
                continue
            known = totals.setdefault(thing.lower().rstrip("s"), count)
            if known != count:
                yield f"says both {known} and {count} {thing}"


def _denies(words: Sequence[str], wanted: Sequence[str]) -> bool:
    for at, word in enumerate(words):
        if word in _NEGATIONS and not _NEGATIONS & set(wanted):
            near = words[at + 1 : at + 3 + len(wanted)]
            after = [one for one in near if one not in {"a", "an", "the"}]
            if list(wanted) == after[: len(wanted)]:
                return True
    return False


def _concludes_otherwise(step: str, words: Sequence[str], wanted: Sequence[str]) -> bool:
    """Tell whether a conclusion has numbers and the answer, a number, is none of them."""
    if not _CONCLUDES.match(step) or len(wanted) != 1 or not wanted[0][0].isdigit():
        return False
    numbers = [word for word in words if word[0].isdigit()]
    return bool(numbers) and wanted[0] not in numbers


def _repetitions(steps: Sequence[str]) -> Iterator[str]:
    seen: set[tuple[str, ...]] = set()
    for step in steps:
        words = tuple(words_of(step))
        if len(words) > _LEAST_CONTENT and words in seen:
            yield f"repeats itself: {step[:80]}"
            return
        seen.add(words)


def _digits(words: Sequence[str]) -> list[str]:
    return [str(NUMBER_WORDS[word]) if word in NUMBER_WORDS else word for word in words]


def _within(wanted: Sequence[str], words: Sequence[str]) -> bool:
    size = len(wanted)
    return any(list(words[at : at + size]) == list(wanted) for at in range(len(words) - size + 1))
