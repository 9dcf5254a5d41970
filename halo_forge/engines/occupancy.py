"""How full the rows of a batch are from its first step to its last; pure arithmetic."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable

from halo_forge.engines.admission import ROW_STEP

__all__ = ["occupancy"]


def occupancy(lengths: Iterable[int], rows: int) -> Counter[int]:
    """Return how many steps are computed with how many rows.

    A row that ends takes the next answer at once; towards the end fewer rows are computed, always
    a multiple of `ROW_STEP`. The first token of an answer comes from its prompt, not from a step.

    Args:
        lengths: Tokens of each answer, in the order in which they begin.
        rows: Answers decoded together.
    """
    waiting = iter(lengths)
    ends: list[int] = []
    steps: Counter[int] = Counter()
    now = 0
    while True:
        while len(ends) < rows and (length := next(waiting, None)) is not None:
            if length > 1:
                heapq.heappush(ends, now + length - 1)
        if not ends:
            return steps
        following = ends[0]
        steps[-(-len(ends) // ROW_STEP) * ROW_STEP] += following - now
        now = following
        while ends and ends[0] == now:
            heapq.heappop(ends)
