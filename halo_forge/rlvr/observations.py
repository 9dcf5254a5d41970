"""What is noted of answers beside their rewards: diversity, movement, signs of gaming."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from halo_forge.core.types import Sample, Verdict
from halo_forge.rlvr.diversity import diversity_record, movement_record, prompt_rates
from halo_forge.rlvr.history import Tallies, tally
from halo_forge.rlvr.honesty import gap_record, suspicious_record

__all__ = ["cycle_observations", "observations"]


def observations(
    verdicts: Sequence[Verdict], program: Callable[[Sample], str], seed: int
) -> dict[str, Any]:
    """Return what verdicts show, of training and of held-out answers alike.

    Args:
        verdicts: One policy's.
        program: Returns the program of a sample, as `Verifier.program`.
        seed: Of the intervals.
    """
    return {
        **diversity_record(verdicts, prompt_rates(verdicts), seed),
        **gap_record(verdicts, seed),
        **suspicious_record(verdicts, program),
    }


def cycle_observations(
    verdicts: Sequence[Verdict],
    program: Callable[[Sample], str],
    earlier: Mapping[int, Tallies],
    seed: int,
) -> dict[str, Any]:
    """Return what a cycle's training answers show, also beside those of the cycles before it."""
    moved = movement_record(tally(verdicts), earlier)
    return {**observations(verdicts, program, seed), **moved}
