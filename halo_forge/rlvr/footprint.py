"""What a run leaves on the disk, from records as they would be written."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from halo_forge.core.types import Message, Prompt, Sample, VerifyResult
from halo_forge.models.roofline import Shape
from halo_forge.rlvr.planned import Job, Trials
from halo_forge.store.codec import sample_record, verdict_record

__all__ = ["disk_of"]

_CHARS = 4
# Characters of text that a token stands for, about.


def disk_of(job: Job, shape: Shape, trials: Trials | None) -> dict[str, int]:
    """Return the bytes of all cycles on the disk, by what takes them.

    Args:
        job: What the run is asked to do.
        shape: The model.
        trials: What was rehearsed; without it only weights count of a checkpoint.
    """
    high = job.expected.high
    mean = sum(job.prompts) / len(job.prompts)
    judged = _journal(mean, high.lengths, judged=True)
    apart = 0
    if job.heldout:
        asked = sum(job.heldout) / len(job.heldout)
        apart = _journal(asked, high.heldout, judged=True) * (job.cycles + 1)
    weights = 4 * (shape.adapters or shape.parameters)
    beside = 0
    if trials is not None:
        own = trials.shape
        beside = max(0, trials.training.written - 4 * (own.adapters or own.parameters))
    return {
        "journals": (judged + _journal(mean, high.lengths, judged=False)) * job.cycles,
        "held-out journals": apart,
        "checkpoints": (weights + beside) * job.cycles,
    }


def _journal(prompt: float, lengths: Sequence[int], *, judged: bool) -> int:
    """Return the bytes of a journal, from a record as it would be written."""
    if not lengths:
        return 0
    asked, said = round(prompt), round(sum(lengths) / len(lengths))
    sample = Sample(
        prompt=Prompt("0" * 16, (Message("user", ""),)),
        index=1,
        completion="x" * _CHARS * said,
        prompt_ids=(10_000,) * asked,
        token_ids=(10_000,) * said,
        logprobs=(-1.234567,) * said,
        policy="cycle_1",
    )
    record = sample_record(sample)
    if judged:
        found = {"stage": "run", "toolchain": "g++ " * 5, "integrity": "strong", "tests": []}
        record = verdict_record(sample, VerifyResult(success=True, reward=1.0, metadata=found))
    return len(orjson.dumps(record)) * len(lengths)
