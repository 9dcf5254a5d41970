"""What a text says about its image, as far as a detector or OCR could tell.

Words are matched whole: "cat" is not in "category". What is asked, supposed or compared ("is
there a dog?", "maybe", "like a dog") claims nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from halo_forge.rlvr.verifiers.vision.answers import sentences
from halo_forge.rlvr.verifiers.vision.coco import NOUNS
from halo_forge.rlvr.verifiers.vision.quantity import NUMBER_WORDS

__all__ = ["CountClaim", "PlaceClaim", "Relation", "TextClaim", "claims_of"]

Relation = Literal["left of", "right of", "above", "below"]

_MOST = 40
"""Claims of one text that are looked at."""

_WORD = re.compile(r"[A-Za-z]+|[0-9]+|[.,;?]")
_UNSURE = re.compile(
    r"\?|\b(?:may|might|maybe|perhaps|possibly|probably|if|whether|like|or|could|seems?|appears?)\b",
    re.IGNORECASE,
)
_COUNTS = {**NUMBER_WORDS, "a": -1, "an": -1, "the": -1, "no": 0}
"""Words before a noun: its number, or -1 where there is at least one."""
_BETWEEN = 2
"""Words that may stand between a number and its noun ("two big brown dogs")."""
_SAYS = re.compile(
    r"\b(?:says?|reads?|text|labell?ed|titled|written|word|words|printed)\b[^\"\u201c.]{0,20}"
    r"[\"\u201c]([^\"\u201d\n]{2,80})[\"\u201d]",
    re.IGNORECASE,
)
_PLACES: dict[str, Relation] = {
    "left of": "left of", "right of": "right of", "above": "above", "over": "above",
    "below": "below", "under": "below", "beneath": "below", "underneath": "below",
}  # fmt: skip
_NOUN = "|".join(sorted(map(re.escape, NOUNS), key=len, reverse=True))
_PLACE = re.compile(
    rf"\b({_NOUN})\b(?:\s+(?:is|are|stands?|sits?|lies|on|to|the|directly|just|standing|sitting))"
    rf"{{0,4}}\s+({'|'.join(_PLACES)})\s+(?:(?:the|a|an)\s+)?({_NOUN})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class CountClaim:
    """There are so many of a class; -1 says at least one, 0 none."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class PlaceClaim:
    """One thing lies so to another."""

    name: str
    relation: Relation
    other: str


@dataclass(frozen=True, slots=True)
class TextClaim:
    """These words can be read in the image."""

    text: str


def claims_of(text: str) -> list[CountClaim | PlaceClaim | TextClaim]:
    """Return what a text claims, each once, in its order; at most 40."""
    found: dict[CountClaim | PlaceClaim | TextClaim, None] = {}
    for part in sentences(text):
        found |= dict.fromkeys(TextClaim(words.strip()) for words in _SAYS.findall(part))
        if not _UNSURE.search(part):
            found |= dict.fromkeys(_places(part))
            found |= dict.fromkeys(_counts(part))
    return list(found)[:_MOST]


def _places(part: str) -> Iterator[PlaceClaim]:
    if re.search(r"\b(?:not|no|never)\b", part, re.IGNORECASE):
        return
    for one, relation, other in _PLACE.findall(part):
        name, known = NOUNS[one.lower()], NOUNS[other.lower()]
        if name != known:
            yield PlaceClaim(name, _PLACES[relation.lower()], known)


def _counts(part: str) -> Iterator[CountClaim]:
    """Yield the nouns with the number before them, if it is near and nothing denies it."""
    words = [word.lower() for word in _WORD.findall(part)]
    at = 0
    while at < len(words):
        size = 2 if " ".join(words[at : at + 2]) in NOUNS else 1
        name = NOUNS.get(" ".join(words[at : at + size]))
        if name is not None:
            count = _count_before(words[:at])
            if count is not None:
                yield CountClaim(name, count)
        at += size if name is not None else 1


def _count_before(words: list[str]) -> int | None:
    """Return the number that a noun's words before it give; ``None`` claims nothing."""
    for back, word in enumerate(reversed(words[-_BETWEEN - 1 :])):
        if word in ".,;?" or word in NOUNS:
            return None
        number = int(word) if word.isdigit() and len(word) < 4 else _COUNTS.get(word)
        if number is not None:
            before = words[len(words) - back - 2] if len(words) >= back + 2 else ""
            denied = before in {"not", "isnt", "without", "never"}
            if denied:
                return 0 if number == -1 and word != "the" else None
            return number
    return None
