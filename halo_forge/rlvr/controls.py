"""Controls: the same run without what the verifier knows. Pure functions.

A model can gain from its own unverified answers (SSD, arXiv:2604.01193), and some models from
random rewards (arXiv:2506.10947), so a rise alone does not show what a verifier taught. A control
has the same prompts, seeds and number of sampled answers, and differs in one thing: what selection
is told. Its verdicts are judged and kept as in any run, so its figures are true.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from halo_forge.config.raft import LoopSettings
from halo_forge.config.steering import Control
from halo_forge.core.identity import derive_seed
from halo_forge.core.types import Verdict, VerifyResult
from halo_forge.rlvr.selection import select
from halo_forge.rlvr.verifiers.base import RewardLevel
from halo_forge.rlvr.weighting import Choice, alike

__all__ = ["MEANINGS", "controlled", "named", "told"]

MEANINGS: Mapping[Control, str] = {
    "unverified": "answers are chosen without their verdicts, as many as the verifier would keep",
    "shuffled": "answers are chosen by rewards that were dealt out at random",
    "compile-only": "answers are chosen by rewards that end at that for compiling",
}
"""What each control does, for people."""


def controlled(
    verdicts: Sequence[Verdict],
    loop: LoopSettings,
    *,
    threshold: float,
    keep: float,
    seed: int,
) -> Choice:
    """Return the answers that a control trains on, with the verdicts they really have.

    All select as a verified run does, by what they are `told`: shorter answers before longer ones,
    repeats last. Where that keeps more than the verifier would, since rewards are spread over more
    prompts, ``unverified`` and ``shuffled`` draw as many from it: of the verdicts ``unverified``
    uses only that number. ``compile-only`` keeps what it keeps, as a run with a weaker verifier.

    Args:
        verdicts: Of one cycle.
        loop: Names the control; bounds what a prompt may bring.
        threshold: Lowest reward kept.
        keep: Share kept of a prompt's answers.
        seed: Of ties, draws and the dealing.
    """
    choosing = partial(
        select,
        threshold=threshold,
        keep=keep,
        seed=seed,
        most=loop.max_per_prompt,
        distinct=loop.distinct,
    )
    known = {verdict.sample.id: verdict for verdict in verdicts}
    pretended = choosing(told(verdicts, loop.control, seed))
    kept = [known[verdict.sample.id] for verdict in pretended]
    if loop.control != "compile-only":
        kept = _drawn(kept, len(choosing(verdicts)), seed)
    return alike(kept)


def named(control: Control) -> dict[str, str]:
    """Return the control, where there is one, for all that a run leaves behind."""
    return {"control": control} if control != "none" else {}


def told(verdicts: Sequence[Verdict], control: Control, seed: int) -> list[Verdict]:
    """Return the verdicts as a control's selection is told them.

    ``unverified`` is told that all are right; neither reward nor substance gate has a say.
    ``shuffled`` deals all verdicts out anew, among answers that ended by themselves and among those
    that were cut, since those are never trained on: the multiset of rewards stays. ``compile-only``
    caps rewards at that for compiling.

    Args:
        verdicts: Of one cycle; their order does not matter.
        control: The control.
        seed: Of the dealing.
    """
    if control == "unverified":
        right = VerifyResult(success=True, reward=1.0)
        return [v if v.result is None else replace(v, result=right) for v in verdicts]
    if control == "compile-only":
        return [_capped(verdict) for verdict in verdicts]
    if control != "shuffled":
        return list(verdicts)
    dealt: list[Verdict] = []
    for reason in ("stop", "length"):
        judged = sorted(
            (v for v in verdicts if v.result is not None and v.sample.finish_reason == reason),
            key=lambda v: v.sample.id,
        )
        results = [verdict.result for verdict in judged]
        random.Random(derive_seed(seed, "shuffle", reason)).shuffle(results)  # noqa: S311
        dealt += [replace(v, result=result) for v, result in zip(judged, results, strict=True)]
    return dealt


def _capped(verdict: Verdict) -> Verdict:
    if verdict.result is None:
        return verdict
    reward = min(verdict.result.reward, RewardLevel.COMPILE_CLEAN.value)
    return replace(verdict, result=replace(verdict.result, reward=reward))


def _drawn(verdicts: Sequence[Verdict], count: int, seed: int) -> list[Verdict]:
    """Return ``count`` verdicts by a seeded hash of their ids, in the order of prompt and index."""
    ranked = sorted(verdicts, key=lambda v: (derive_seed(seed, "draw", v.sample.id), v.sample.id))
    return sorted(ranked[:count], key=lambda v: (v.sample.prompt.id, v.sample.index))
