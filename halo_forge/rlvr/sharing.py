"""Answers that two runs have in common, taken over instead of sampled again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from halo_forge.store.atomic import lend
from halo_forge.store.run_dir import RunDir, difference

__all__ = ["borrow"]

_APART = {"raft.control"}
"""Settings that change nothing before the first selection."""


def borrow(run: RunDir, twin: RunDir, guarded: Mapping[str, Any]) -> bool:
    """Take over a twin's held-out baseline and its answers of cycle 1, where it has them.

    Up to the first selection two runs are the same that differ only in their control: same
    policy, prompts, seeds, verifier. So their answers and verdicts are, and are sampled once. A
    twin that differs in anything else lends nothing.

    Args:
        run: Takes what it does not have yet.
        twin: Has finished cycle 1.
        guarded: Everything a result of ``run`` depends on, by dotted key.

    Returns:
        Whether anything was taken over.

    Raises:
        StoreFault: If a file cannot be read or written.
    """
    info = twin.read_info()
    if info is None or not twin.is_complete(1):
        return False
    if any(key not in _APART for key, _, _ in difference(info["guarded"], guarded)):
        return False
    taken = False
    for there, here in (
        (twin.eval_path(0), run.eval_path(0)),
        (twin.samples_path(1), run.samples_path(1)),
        (twin.verified_path(1), run.verified_path(1)),
    ):
        taken = lend(there, here) or taken
    return taken
