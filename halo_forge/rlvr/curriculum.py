"""Which prompts a cycle has: pure functions of the settings and of earlier cycles' journals.

Nothing is remembered beside the journals, so a run that was killed decides like one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from halo_forge.config.steering import CurriculumSettings
from halo_forge.core.types import Prompt
from halo_forge.rlvr.history import Tallies

__all__ = ["by_ease", "chosen", "needs_history"]

_UNKNOWN_DIFFICULTY = 3
_UNKNOWN_RATE = 0.5


def needs_history(settings: CurriculumSettings) -> bool:
    """Tell whether the choice depends on earlier cycles."""
    resting = settings.retire_at is not None or settings.retry_after > 0
    return resting or settings.kind == "adaptive"


def chosen(
    settings: CurriculumSettings,
    prompts: Sequence[Prompt],
    cycle: int,
    earlier: Mapping[int, Tallies],
    rates: Mapping[str, float],
) -> list[Prompt]:
    """Return the prompts of a cycle, in their given order; none when all have retired.

    Where none in reach is left, those that only rest are tried, then all that have not retired.

    Args:
        settings: The curriculum.
        prompts: All training prompts.
        cycle: The cycle, from 1.
        earlier: Tallies of all cycles before it, if `needs_history`.
        rates: Pass rates in earlier runs, for ``historical``.
    """
    window = _window(settings, by_ease(settings, prompts, rates), cycle, earlier)
    retired, waiting = _retired(settings, earlier), _waiting(settings, cycle, earlier)
    open_ = [prompt for prompt in prompts if prompt.id not in retired]
    near = [prompt for prompt in open_ if prompt.id in window]
    return [prompt for prompt in near if prompt.id not in waiting] or near or open_


def by_ease(
    settings: CurriculumSettings, prompts: Sequence[Prompt], rates: Mapping[str, float]
) -> list[str]:
    """Return the prompts' ids, easy ones first.

    The score is the pass rate in earlier runs for ``historical`` (0.5 for a prompt they did not
    have), then the prompt's difficulty (3 when it says none), then the words of its text. It is
    rough: short is not always easy.
    """

    def score(prompt: Prompt) -> tuple[float, int, int, str]:
        rate = rates.get(prompt.id, _UNKNOWN_RATE) if settings.kind == "historical" else 0.0
        return -rate, prompt.difficulty or _UNKNOWN_DIFFICULTY, len(prompt.text.split()), prompt.id

    return [prompt.id for prompt in sorted(prompts, key=score)]


def _window(
    settings: CurriculumSettings, ids: Sequence[str], cycle: int, earlier: Mapping[int, Tallies]
) -> frozenset[str]:
    """Return the ids that are in reach of a cycle: ``ids`` are sorted, easy ones first."""
    share = Fraction(str(settings.share))
    shares = math.ceil(1 / share)
    if settings.kind == "none" or (settings.kind == "complexity" and cycle > shares):
        return frozenset(ids)
    reach = _level(settings, shares, cycle, earlier) if settings.kind == "adaptive" else cycle
    # a share holds one prompt at the least, the first ones too
    ends = [max(n, min(len(ids), math.ceil(n * share * len(ids)))) for n in (reach - 1, reach)]
    return frozenset(ids[ends[0] if settings.kind == "complexity" else 0 : ends[1]] or ids)


def _level(
    settings: CurriculumSettings, shares: int, cycle: int, earlier: Mapping[int, Tallies]
) -> int:
    """Return how many shares an adaptive curriculum has reached before a cycle."""
    level = 1
    for number in range(1, cycle):
        tallies = earlier[number].values()
        rate = sum(t.passed for t in tallies) / max(1, sum(t.judged for t in tallies))
        level += (rate > settings.up) - (rate < settings.down)
        level = min(max(level, 1), shares)
    return level


def _retired(settings: CurriculumSettings, earlier: Mapping[int, Tallies]) -> frozenset[str]:
    """Return the ids that are solved often enough."""
    if settings.retire_at is None:
        return frozenset()
    last = _last(earlier)
    return frozenset(
        name for name, n in last.items() if earlier[n][name].rate >= settings.retire_at
    )


def _waiting(
    settings: CurriculumSettings, cycle: int, earlier: Mapping[int, Tallies]
) -> frozenset[str]:
    """Return the ids that no answer solved, until they are tried again."""
    return frozenset(
        name
        for name, n in _last(earlier).items()
        if earlier[n][name].passed == 0 and cycle - n <= settings.retry_after
    )


def _last(earlier: Mapping[int, Tallies]) -> dict[str, int]:
    """Return the last cycle that had each prompt."""
    return {name: number for number in sorted(earlier) for name in earlier[number]}
