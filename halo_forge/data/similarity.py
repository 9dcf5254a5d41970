"""Near-duplicate texts: Jaccard similarity of word 3-grams, found without comparing all pairs.

Two texts whose similarity is at least ``t`` share one of the rarest ``(1 - t) * size + 1``
3-grams of each (prefix filtering: Chaudhuri et al. 2006, "A primitive operator for similarity
joins in data cleaning"). Indexing only these finds the same pairs as comparing everything, and
hardly ever touches a 3-gram that many texts share. Where the first shared one stands bounds how
many can follow (positional filtering: Xiao et al. 2008, "Efficient similarity joins for near
duplicate detection").
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

__all__ = ["NEAR", "jaccard", "near_pairs", "shingles"]

NEAR = 0.6
"""Similarity from which two prompts count as nearly the same."""

_FRAME_TEXTS = 10
_TOKEN = re.compile(r"\w+|[^\w\s]")

_Shingle = tuple[str, ...]
_Places = defaultdict[_Shingle, defaultdict[tuple[int, int], list[int]]]


def shingles(text: str) -> frozenset[_Shingle]:
    """Return the 3-grams of the text's words and symbols, case folded.

    A symbol is a word of its own, so ``a + b`` and ``a - b`` differ. A shorter text is one
    shingle.
    """
    words = _TOKEN.findall(text.casefold())
    if len(words) < 3:
        return frozenset([tuple(words)])
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def jaccard(left: frozenset[_Shingle], right: frozenset[_Shingle]) -> float:
    """Return the share of 3-grams that both have among those that either has."""
    shared = len(left & right)
    union = len(left) + len(right) - shared
    return shared / union if union else 1.0


def near_pairs(
    texts: Sequence[str], others: Sequence[str] | None = None, *, threshold: float = NEAR
) -> list[tuple[int, int, float]]:
    """Find for each text one that is nearly the same: an earlier one, or one of ``others``.

    Among ten or more texts, a 3-gram that more than half of them have belongs to the frame around
    the task ("Write a program that ...") and is left out, otherwise every short task is near every
    other one.

    Args:
        texts: The texts to find partners for.
        others: Where to look instead of among the earlier texts.
        threshold: Least similarity, above 0.

    Returns:
        ``(position in texts, position of the partner, similarity)``, by position.
    """
    everything = [shingles(text) for text in (*(others or ()), *texts)]
    count = Counter(shingle for one in everything for shingle in one)
    frame = _frame(count, len(everything))
    index = _Index(threshold)
    bare = [
        sorted(one - frame, key=lambda shingle: (count[shingle], shingle)) for one in everything
    ]
    first = len(others) if others is not None else 0
    pairs = []
    for at, one in enumerate(bare):
        if at >= first and (found := index.partner(one)):
            pairs.append((at - first, *found))
        if others is None or at < first:
            index.add(one)
    return pairs


def _frame(count: Counter[_Shingle], texts: int) -> frozenset[_Shingle]:
    if texts < _FRAME_TEXTS:
        return frozenset()
    return frozenset(shingle for shingle, times in count.items() if times > texts / 2)


class _Index:
    """Texts by the rarest of their 3-grams; a text is its 3-grams, the rarest first."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._texts: list[frozenset[_Shingle]] = []
        # 3-gram -> (size of a text, place of the 3-gram in it) -> positions of such texts
        self._places: _Places = defaultdict(lambda: defaultdict(list))

    def add(self, text: Sequence[_Shingle]) -> None:
        for place, shingle in enumerate(self._prefix(text)):
            self._places[shingle][len(text), place].append(len(self._texts))
        self._texts.append(frozenset(text))

    def partner(self, text: Sequence[_Shingle]) -> tuple[int, float] | None:
        """Return the position and similarity of a text near ``text``, if there is one."""
        one, seen = frozenset(text), set()
        for other in self._candidates(text):
            if other not in seen:
                seen.add(other)
                similarity = jaccard(one, self._texts[other])
                if similarity >= self._threshold:
                    return other, similarity
        return None

    def _candidates(self, text: Sequence[_Shingle]) -> Iterator[int]:
        for place, shingle in enumerate(self._prefix(text)):
            for (size, its_place), others in self._places.get(shingle, {}).items():
                shared_at_most = min(len(text) - place, size - its_place)
                if shared_at_most >= self._least(len(text) + size):
                    yield from others

    def _prefix(self, text: Sequence[_Shingle]) -> Sequence[_Shingle]:
        return text[: len(text) - _ceil(self._threshold * len(text)) + 1]

    def _least(self, sizes: int) -> int:
        """Return how many 3-grams texts with this many together must share."""
        return _ceil(self._threshold / (1 + self._threshold) * sizes)


def _ceil(value: float) -> int:
    # The tolerance keeps a product such as 0.6 * 5 = 3.0000000000000004 from rounding up.
    return math.ceil(value - 1e-9)
