"""The answer that counts, out of a model's text, and whether it is right.

A text commits itself to one answer or to none. Where the text names several, lists the options,
hedges or negates, it has given no answer that could be right.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from halo_forge.rlvr.verifiers.vision.quantity import (
    NUMBER_WORDS,
    Quantity,
    parse_quantity,
    same_quantity,
)

__all__ = [
    "METRICS", "Grade", "Metric", "anls", "final_answer", "grade", "normalised", "options_of",
    "relaxed_match", "sentences", "vqa_accuracy", "words_of",
]  # fmt: skip

Metric = Literal["vqa", "docvqa", "chartqa"]
METRICS: tuple[Metric, ...] = get_args(Metric)

_VOTES = 3
_PEOPLE = 10
_ANLS_LEAST = 0.5
_ANLS_LONGEST = 256
_RELAXED = Fraction(5, 100)
_YEARS = range(1000, 2200)

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_MARKED = re.compile(
    r"(?:^[ \t>*_#-]*|(?<=[.!?])[ \t]+[*_]*)"
    r"(?:the\s+)?(?:final\s+|correct\s+)?answer[*_\s]*(?::|=)[*_\s]*(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_SAID = re.compile(
    r"\b(?:the\s+)?(?:final\s+|correct\s+)?answer\s+(?:is|would be|must be)\s*:?\s+(.*)$",
    re.IGNORECASE | re.DOTALL,
)
_CONCLUDES = re.compile(
    r"^(?:so|therefore|thus|hence|in conclusion|overall|finally|that (?:is|makes))\b,?\s*",
    re.IGNORECASE,
)
_STATES = re.compile(
    r"^(?:it|this|that|there|they|he|she|(?:the|this|that|these|those)\s+[\w' -]{1,60}?)\s+"
    r"(?:is|are|was|were|says|reads|shows|contains|has)\s+(.*)$",
    re.IGNORECASE | re.DOTALL,
)
_CODE = re.compile(r"/|(?<![0-9.,])0[0-9]")
"""Signs that figures in a document are a date or a code, which is read as text: 3/4, 0123."""
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\b[A-Za-z]\.)\s+|\n+")
_OPTIONS = (
    re.compile(r"(?:^|(?<=\s))\(([A-Z])\)\s*(\S.*?)(?=\s\([A-Z]\)\s|$)", re.MULTILINE),
    re.compile(r"^[ \t]*\(?([A-Z])[.):][ \t]*(\S.*)$", re.MULTILINE),
)
_CHOSEN = re.compile(r"(?:option|choice)?\s*\(?([a-z])\)?(?:[.:)]|\s|$)\s*(.*)", re.DOTALL)

_ARTICLES = frozenset({"a", "an", "the"})
_NOT_COMMITTED = frozenset({
    "not", "no", "never", "none", "neither", "nor", "isnt", "arent", "wasnt", "werent",
    "doesnt", "cannot", "cant", "dont", "or", "either", "maybe", "perhaps", "possibly",
    "probably", "might", "could", "unsure", "unknown", "unclear", "uncertain", "guess",
    "likely", "alternatively", "otherwise", "versus", "vs", "except", "but",
})  # fmt: skip
"""Words by which an answer takes itself back, unless the right answer has them too."""
_DENIED = _NOT_COMMITTED | {"wrong", "incorrect", "false", "bad", "if", "whether", "doubt", "say"}
"""Words before "the answer is" that make it no statement."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What an answer is worth.

    Attributes:
        right: It is the right answer.
        score: The benchmark's own figure for it, in [0, 1]; a benchmark may give part of it to an
            answer that is not right.
        near: How near a wrong answer comes, in [0, 1); 0 where it is another answer.
        truth: The accepted answer that it was nearest to.
        how: What decided: ``choice``, ``number`` or ``text``.
    """

    right: bool
    score: float
    near: float
    truth: str
    how: str


def final_answer(text: str) -> str:
    r"""Return the one answer that a text commits itself to, or ``""``.

    In this order: ``<answer>...</answer>``, ``\boxed{...}``, a line ``Answer: ...``, a sentence
    "the answer is ...". Where there are several of one form they must agree. A text without any
    of them is an answer as a whole if it is one sentence; else its last sentence is, if it begins
    as a conclusion ("so", "therefore", ...).
    """
    for pattern in (_TAGGED, _BOXED, _MARKED):
        found = [_bare(_BOXED.sub(r"\1", one)) for one in pattern.findall(text)]
        if found:
            agree = len({" ".join(words_of(one)) or one.strip() for one in found}) == 1
            return found[-1] if agree else ""
    parts = sentences(text)
    hits = [hit for part in parts if (hit := _SAID.search(part))]
    if any(_DENIED & set(words_of(hit.string[: hit.start()])) for hit in hits):
        return ""
    said = [_bare(hit[1]) for hit in hits]
    if said:
        return said[-1] if len({" ".join(words_of(one)) for one in said}) == 1 else ""
    if len(parts) == 1:
        return _bare(_CONCLUDES.sub("", parts[0]))
    if parts and _CONCLUDES.match(parts[-1]):
        return _bare(_CONCLUDES.sub("", parts[-1]))
    return ""


def sentences(text: str) -> list[str]:
    """Return the sentences and lines of a text, without empty ones."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip(" \t*_#>-")]


def grade(answer: str, question: str, truths: Sequence[str], metric: Metric) -> Grade:
    """Compare an answer with what is accepted.

    Args:
        answer: What `final_answer` gave.
        question: The prompt's text, whose options and words help to read the answer.
        truths: Accepted answers, the first one first; with ten or more they are votes, as in VQA.
        metric: How the benchmark compares.
    """
    best = Grade(right=False, score=0.0, near=0.0, truth=truths[0], how="text")
    if not answer.strip():
        return best
    options = options_of(question)
    chosen = _chosen(truths[0], options) if options else None
    if chosen is not None:
        right = _chosen(answer, options) == chosen
        return Grade(right, float(right), 0.0, truths[0], "choice")
    grades = [_compared(one, question, truths, metric) for one in _readings(answer)]
    return max(grades, key=lambda one: (one.right, one.score, one.near))


def vqa_accuracy(answer: str, truths: Sequence[str]) -> float:
    """Return the accuracy of VQA: who of ten people gave this answer, three are enough.

    ``min(votes / 3, 1)``, averaged over all choices of nine of the ten (Antol et al. 2015,
    arXiv:1505.00468, section 3; its evaluation code averages so). With fewer than ten answers
    each of them is accepted whole.
    """
    mine = normalised(answer)
    votes = sum(normalised(one) == mine for one in truths)
    if len(truths) < _PEOPLE:
        return float(votes > 0)
    others = len(truths) - votes
    without_mine = votes * min((votes - 1) / _VOTES, 1.0) if votes else 0.0
    return (without_mine + others * min(votes / _VOTES, 1.0)) / len(truths)


def anls(answer: str, truths: Sequence[str]) -> float:
    """Return the normalised Levenshtein similarity of DocVQA, 0 below 0.5.

    ``1 - distance / length of the longer``, of lower-case texts, the best over all accepted
    answers (Biten et al. 2019, arXiv:1905.13648, equation 1; Mathew et al. 2021,
    arXiv:2007.00398). Texts are compared up to 256 characters.
    """
    mine = _plain(answer)[:_ANLS_LONGEST]
    best = max(_similarity(mine, _plain(one)[:_ANLS_LONGEST]) for one in truths)
    return best if best >= _ANLS_LEAST else 0.0


def relaxed_match(answer: Quantity, truth: Quantity, *, percent: bool = False) -> bool:
    """Tell whether a number is within 5% of the right one.

    The relaxed accuracy of ChartQA (Methani et al. 2020, arXiv:1909.00997, section 5.1; Masry et
    al. 2022, arXiv:2203.10244, section 5.1).
    """
    return same_quantity(answer, truth, tolerance=_RELAXED, percent=percent)


def normalised(text: str) -> str:
    """Return a text as VQA's evaluation compares it.

    Lower case; articles, apostrophes, commas within numbers and other punctuation gone; number
    words as digits (the rules of the evaluation code of arXiv:1505.00468; it restores apostrophes
    where this removes them, which makes the same texts equal).
    """
    words = words_of(text)
    digits = {word: str(number) for word, number in NUMBER_WORDS.items()}
    return " ".join(digits.get(word, word) for word in words if word not in _ARTICLES) or _plain(
        text
    )


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, numbers whole, without punctuation."""
    plain = re.sub(r"['\u2019`]", "", _plain(text))
    plain = re.sub(r"(?<=[0-9]),(?=[0-9]{3}\b)", "", plain)
    return re.findall(r"[0-9]+(?:\.[0-9]+)?|[^\W_]+", plain)


def options_of(question: str) -> dict[str, str]:
    """Return the options of a multiple-choice question by letter, or none.

    ``(A) cat (B) dog``, ``A. cat`` on lines of their own and ``A: cat`` are understood, when the
    letters run on from A.
    """
    for pattern in _OPTIONS:
        found = [(letter, text.strip()) for letter, text in pattern.findall(question)]
        start = "".join(letter for letter, _ in found).rfind("A")
        run = found[start:] if start >= 0 else []
        in_order = all(letter == chr(ord("A") + n) for n, (letter, _) in enumerate(run))
        if in_order and len(run) >= 2:
            return dict(run)
    return {}


def _chosen(text: str, options: dict[str, str]) -> str | None:
    """Return the letter that a text chooses: by letter, by its words, or by both if they agree."""
    plain = " ".join(_plain(text).split())
    named = [letter for letter, one in options.items() if normalised(one) == normalised(plain)]
    if len(named) == 1:
        return named[0]
    found = _CHOSEN.fullmatch(plain.strip(" .*\"'"))
    if found is None or found[1].upper() not in options:
        return None
    letter, rest = found[1].upper(), found[2].strip(" .")
    return letter if not rest or normalised(rest) == normalised(options[letter]) else None


def _readings(answer: str) -> list[str]:
    """Return the answer, and what it states if it is a sentence ("It is a cat")."""
    stated = _STATES.match(answer)
    return [answer] if stated is None else [answer, _bare(stated[1])]


def _compared(answer: str, question: str, truths: Sequence[str], metric: Metric) -> Grade:
    words = frozenset(words_of(question))
    counted = frozenset(w for w in words if w.isalpha() and w not in NUMBER_WORDS) - _NOT_COMMITTED
    percent = bool(counted & {"percent", "percentage", "share"}) or "%" in question
    mine = parse_quantity(_plain(answer), counted)
    for truth in dict.fromkeys(truths):
        if metric == "docvqa" and (_CODE.search(truth) or _CODE.search(answer)):
            continue
        theirs = parse_quantity(_plain(truth), counted)
        if mine is not None and theirs is not None and _numbers(mine, theirs, metric, percent):
            return _accepted(truth, truths, metric)
    if _took_back(answer, truths):
        return Grade(right=False, score=0.0, near=0.0, truth=truths[0], how="text")
    equal = next((one for one in truths if _same_text(answer, one)), None)
    if equal is not None:
        return _accepted(equal, truths, metric)
    score = anls(answer, truths) if metric == "docvqa" else 0.0
    if mine is not None:
        return Grade(right=False, score=score, near=0.0, truth=truths[0], how="number")
    near = _nearness(answer, truths, score)
    return Grade(right=False, score=score, near=near, truth=truths[0], how="text")


def _numbers(mine: Quantity, theirs: Quantity, metric: Metric, percent: bool) -> bool:
    """Tell whether a number is right; years and other bare whole numbers like them exactly."""
    year = theirs.value.denominator == 1 and theirs.value in _YEARS and not theirs.unit
    if metric == "chartqa" and not year:
        return relaxed_match(mine, theirs, percent=percent)
    return same_quantity(mine, theirs, percent=percent)


def _accepted(truth: str, truths: Sequence[str], metric: Metric) -> Grade:
    """Grade an answer that equals ``truth``: of many people's answers, three must have given it."""
    number = parse_quantity(_plain(truth)) is not None
    accuracy = vqa_accuracy(truth, truths) if metric == "vqa" else 1.0
    enough = len(truths) < _PEOPLE or metric != "vqa"
    votes = sum(normalised(one) == normalised(truth) for one in truths)
    right = enough or votes >= _VOTES
    near = 0.0 if right else accuracy
    return Grade(right, accuracy, near, truth, "number" if number else "text")


def _took_back(answer: str, truths: Sequence[str]) -> bool:
    """Tell whether an answer hedges or negates with words that no accepted answer has."""
    known = {word for truth in truths for word in words_of(truth)}
    return bool(_NOT_COMMITTED & (set(words_of(answer)) - known))


def _same_text(answer: str, truth: str) -> bool:
    """Compare as texts; numbers were compared as such, and their signs are no punctuation."""
    if any(parse_quantity(_plain(one)) is not None for one in (answer, truth)):
        return _plain(answer) == _plain(truth)
    return normalised(answer) == normalised(truth)


def _nearness(answer: str, truths: Sequence[str], score: float) -> float:
    """Return part of a score for a slip of the pen; a text with another number is another one."""
    digits = re.findall(r"[0-9]", answer)
    same = any(digits == re.findall(r"[0-9]", one) for one in truths)
    return min(score, 0.99) if same else 0.0


def _similarity(a: str, b: str) -> float:
    """Return 1 - Levenshtein distance / length of the longer; of two empty texts, 1."""
    if a == b:
        return 1.0
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (left != right))
    return 1 - row[-1] / max(len(a), len(b))


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _bare(text: str) -> str:
    """Return a text without markup, quotation marks and the full stop around it."""
    text = text.strip().strip("*_`#> \t\n").rstrip(".! \t\n")
    return text.strip("*_`\"'\u201c\u201d\u2018\u2019 \t\n")
