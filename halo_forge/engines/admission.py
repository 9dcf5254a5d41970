"""Which prompts are decoded together, and in how many rows, so that keys and values fit.

A row is given room for the longest sample that it may hold, so a batch that starts cannot run out
of it. Prompts come longest first, and where memory is short a few long ones do not take it from
many short ones: prompts less than half as long get a batch of their own, with more rows.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from halo_forge.core.errors import ModelFault

__all__ = ["ROW_STEP", "admit", "room"]

ROW_STEP = 8
"""Rows of a step are rounded up to this; below it matrix products use other kernels."""

_SHARE = 0.8
"""Of what is free, the share given to keys and values; the rest is for the step's own tensors."""

_log = logging.getLogger(__name__)


def room(limit_gb: float | None, free: int) -> int:
    """Return the bytes that keys and values may take.

    Args:
        limit_gb: What the user allows, in GiB; None leaves it to what is free.
        free: Bytes that nobody uses.
    """
    usual = int(free * _SHARE)
    return usual if limit_gb is None else min(usual, int(limit_gb * 2**30))


def admit(
    needs: Sequence[tuple[int, int]], wanted: int, position_bytes: int, budget: int
) -> tuple[int, int]:
    """Choose the next batch from the head of a queue.

    Args:
        needs: Of each prompt, longest first: positions that a sample may need, and samples.
        wanted: Rows to decode together when they fit.
        position_bytes: Bytes that one position takes.
        budget: Bytes that there are.

    Returns:
        How many prompts from the head, and the rows for them, a multiple of `ROW_STEP`.

    Raises:
        ModelFault: If not even `ROW_STEP` rows of the longest fit.
    """
    longest = needs[0][0]
    fit = budget // (longest * position_bytes) // ROW_STEP * ROW_STEP
    if not fit:
        raise ModelFault(
            f"the keys and values of {ROW_STEP} answers of {longest} tokens need "
            f"{ROW_STEP * longest * position_bytes / 2**30:.2f} GiB, there are "
            f"{budget / 2**30:.2f}. Lower generation.max_new_tokens, shorten the prompts, raise "
            "hardware.kv_cache_gb if it is set, or take a smaller model."
        )
    count = len(needs)
    if fit < _rows(needs, wanted):
        asked = _rows(needs, wanted)
        count = next((i for i, (length, _) in enumerate(needs) if length * 2 <= longest), count)
        _log.warning(
            "keys and values of %d answers of up to %d tokens do not fit into %.2f GiB: %d are "
            "decoded together",
            asked,
            longest,
            budget / 2**30,
            min(fit, _rows(needs[:count], wanted)),
        )
    return count, min(fit, _rows(needs[:count], wanted))


def _rows(needs: Sequence[tuple[int, int]], wanted: int) -> int:
    """Return ``wanted``, but no more rows than there are samples, as a multiple of the step."""
    rows = min(wanted, sum(samples for _, samples in needs))
    return -(-rows // ROW_STEP) * ROW_STEP
