"""Samples and verdicts as JSON records, and back.

A record names its prompt by id; the prompts are in the run directory's prompts file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from halo_forge.core.types import Prompt, Sample, Verdict, VerifyResult

__all__ = ["sample_from_record", "sample_record", "verdict_from_record", "verdict_record"]

_Record = dict[str, Any]


def sample_record(sample: Sample) -> _Record:
    """Return a sample as a JSON-serialisable record."""
    return {
        "id": sample.id,
        "prompt_id": sample.prompt.id,
        "index": sample.index,
        "completion": sample.completion,
        "finish_reason": sample.finish_reason,
        "policy": sample.policy,
        "prompt_ids": list(sample.prompt_ids),
        "token_ids": list(sample.token_ids),
        "logprobs": [round(value, 6) for value in sample.logprobs],
        **({"token_count": sample.token_count} if sample.token_count else {}),
    }


def sample_from_record(record: Mapping[str, Any], prompts: Mapping[str, Prompt]) -> Sample:
    """Return the sample of a record.

    Raises:
        KeyError: If its prompt is not among ``prompts``.
    """
    return Sample(
        prompt=prompts[record["prompt_id"]],
        index=record["index"],
        completion=record["completion"],
        prompt_ids=tuple(record["prompt_ids"]),
        token_ids=tuple(record["token_ids"]),
        logprobs=tuple(record["logprobs"]),
        finish_reason=record["finish_reason"],
        policy=record["policy"],
        token_count=record.get("token_count", 0),
    )


def verdict_record(sample: Sample, result: VerifyResult) -> _Record:
    """Return a judged sample as a record that can be read without any other."""
    return {
        **sample_record(sample),
        "success": result.success,
        "reward": result.reward,
        "details": result.details,
        "error": result.error,
        "metadata": dict(result.metadata),
    }


def verdict_from_record(record: Mapping[str, Any], prompts: Mapping[str, Prompt]) -> Verdict:
    """Return the verdict of a record."""
    result = VerifyResult(
        success=record["success"],
        reward=record["reward"],
        details=record["details"],
        error=record["error"],
        metadata=record["metadata"],
    )
    return Verdict(sample_from_record(record, prompts), result=result)
