"""Records that are nearly the same stay on one side: a validation loss that memory cannot lower."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from halo_forge.data.similarity import near_pairs

__all__ = ["near_groups", "split_off"]


def near_groups(texts: Sequence[str]) -> list[int]:
    """Return for each text the number of its group; near-duplicates of each other share one.

    Similarity is that of `halo_forge.data.similarity`, and chains of it make one group.
    """
    parent = list(range(len(texts)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for mine, other, _ in near_pairs(texts):
        parent[root(mine)] = root(other)
    return [root(at) for at in range(len(texts))]


def split_off(texts: Sequence[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Part texts so that none on one side is nearly the same as one on the other.

    Whole groups go over, in an order drawn by the seed and the groups' own words, until the share
    is reached; a group that would pass it is left where it is.

    Args:
        texts: What tells related records apart.
        share: Share of all texts wanted on the second side, in [0, 1); at least one text when it
            is above 0 and there are groups enough, and never all.
        seed: Of the draw.

    Returns:
        Positions of the first side and of the second, each ascending.
    """
    if not share:
        return list(range(len(texts))), []
    groups: dict[int, list[int]] = defaultdict(list)
    for at, group in enumerate(near_groups(texts)):
        groups[group].append(at)
    wanted = min(max(1, round(share * len(texts))), len(texts) - 1)
    over: set[int] = set()
    for members in sorted(groups.values(), key=lambda group: _draw(texts[group[0]], seed)):
        if len(over) + len(members) <= wanted:
            over.update(members)
    over = _apart(texts, over)
    rest = [at for at in range(len(texts)) if at not in over]
    return rest, sorted(over)


def _apart(texts: Sequence[str], over: set[int]) -> set[int]:
    """Take back what is near a text that stays: a search for one partner can miss a second."""
    while over:
        there = sorted(over)
        here = [text for at, text in enumerate(texts) if at not in over]
        near = near_pairs([texts[at] for at in there], here)
        if not near:
            break
        over = over - {there[mine] for mine, _, _ in near}
    return over


def _draw(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\x1f{text}".encode("utf-8", "surrogatepass")).digest()
