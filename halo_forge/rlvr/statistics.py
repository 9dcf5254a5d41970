"""What verdicts say about a cycle and about held-out prompts: pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from halo_forge.core.types import Verdict, VerifyResult
from halo_forge.rlvr.verifiers.base import RewardLevel
from halo_forge.stats import bootstrap_rate, paired_difference

__all__ = [
    "RATES",
    "compiled",
    "cycle_record",
    "error_class",
    "has_hidden_tests",
    "heldout_record",
    "hidden_passed",
    "means",
    "metrics",
]


def compiled(result: VerifyResult) -> bool:
    """Tell whether an answer got at least as far as compiling (with or without warnings)."""
    return result.success or result.reward >= RewardLevel.COMPILE_WARNINGS


def hidden_passed(result: VerifyResult) -> bool:
    """Tell whether an answer passes the tests that reward it and all hidden ones."""
    total = result.metadata.get("hidden_total", 0)
    return result.success and result.metadata.get("hidden_passed", 0) == total


def has_hidden_tests(verdict: Verdict) -> bool:
    """Tell whether the prompt of a verdict has hidden tests, by its reference or what was run."""
    reference, result = verdict.sample.prompt.reference, verdict.result
    ran = result is not None and bool(result.metadata.get("hidden_total"))
    return ran or bool(reference.hidden_tests or reference.hidden_test_code)


def error_class(result: VerifyResult) -> str | None:
    """Return what kind of failure a verdict is; None for a success.

    It is the class of the compiler's diagnostic (``undeclared``, ``syntax``, ...), else the limit
    that was hit, else the stage at which it ended.
    """
    if result.success:
        return None
    data = result.metadata
    limits = data.get("limits")
    found = data.get("diagnostic") or (limits[0] if isinstance(limits, list) and limits else None)
    return str(found or data.get("stage") or "other")


RATES: Mapping[str, Callable[[VerifyResult], bool]] = {
    "compile_rate": compiled,
    "pass_rate": lambda result: result.success,
    "hidden_pass_rate": hidden_passed,
}
"""What is measured on held-out prompts: a name, and whether one answer counts."""


def cycle_record(verdicts: Sequence[Verdict], kept: Sequence[Verdict]) -> dict[str, Any]:
    """Return the figures of one cycle's training answers.

    ``entropy`` is the mean of -log p over the sampled tokens, nats: an unbiased estimate of the
    entropy of the sampling distribution along its own samples.
    """
    results = [v.result for v in verdicts if v.result is not None]
    samples = [v.sample for v in verdicts]
    tokens = sum(s.length for s in samples)
    groups = _by_prompt(verdicts)
    rewards = Counter(f"{r.reward:g}" for r in results)
    return {
        "total_samples": len(verdicts),
        "faults": len(verdicts) - len(results),
        "kept": len(kept),
        "unique_kept": len({(v.sample.prompt.id, v.sample.completion) for v in kept}),
        "avg_reward": _mean([r.reward for r in results]),
        "avg_kept_reward": _mean([v.result.reward for v in kept if v.result is not None]),
        "success_rate": _mean([float(r.success) for r in results]),
        "compile_rate": _mean([float(compiled(r)) for r in results]),
        "reward_distribution": dict(sorted(rewards.items())),
        "error_classes": _error_classes(results),
        "prompts_solved": sum(any(r.success for r in group) for group in groups.values()),
        "frac_reward_zero_std": _mean(
            [float(len({r.reward for r in group}) == 1) for group in groups.values()]
        ),
        "tokens_generated": tokens,
        "truncated": _truncated(verdicts),
        "entropy": sum(-sum(s.logprobs) for s in samples) / tokens if tokens else None,
    }


_METRIC_NAMES = {
    "avg_reward": "reward",
    "success_rate": "pass_rate",
    "compile_rate": "compile_rate",
    "frac_reward_zero_std": "frac_reward_zero_std",
    "entropy": "entropy",
    "tokens_per_s": "tokens_per_s",
    "learning_rate": "learning_rate",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "clip_fraction": "clip_ratio/region_mean",
    "kl": "kl",
    "behaviour_gap": "behaviour_gap",
    "samples_saved": "samples_saved",
    "tokens_saved": "tokens_saved",
    "verification_added_seconds": "verification_added_seconds",
    "distinct_share": "distinct_share",
    "solved_first_share": "solved_first_share",
    "lost_share": "lost_share",
}
_MEANS = ("hidden_gap", "pass_at_k")


def metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """Return a cycle's figures under the names that trackers' users know (TRL's where it has one).

    Args:
        record: A cycle's record in ``raft_statistics.json``.
    """
    figures = {
        new: record[old] for old, new in _METRIC_NAMES.items() if record.get(old) is not None
    }
    total = record["total_samples"]
    return {
        **figures,
        **means(record),
        "kept_fraction": record["kept"] / total,
        "unique_fraction": record["unique_kept"] / max(record["kept"], 1),
        "completions/mean_length": record["tokens_generated"] / total,
        "completions/clipped_ratio": record["truncated"] / total,
        "step_time": record["elapsed_minutes"] * 60,
    }


def means(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the hidden-test gap and pass@k of a record, as far as they are known."""
    return {name: record[name]["mean"] for name in _MEANS if name in record}


def heldout_record(
    verdicts: Sequence[Verdict], baseline: Sequence[Verdict] | None, seed: int
) -> dict[str, Any]:
    """Return held-out rates with 95 % intervals, and their paired differences to the baseline.

    The unit is the prompt: a prompt's rate is the mean over its answers. The rate of passing hidden
    tests too is one over the prompts that have some, if any were run.
    """
    everything = (*verdicts, *(baseline or ()))
    hidden = any(v.result.metadata.get("hidden_total") for v in everything if v.result is not None)
    probed = {v.sample.prompt.id for v in everything if has_hidden_tests(v)}
    record: dict[str, Any] = {
        "samples": len(verdicts),
        "truncated": _truncated(verdicts),
        "error_classes": _error_classes([v.result for v in verdicts if v.result is not None]),
        "differences": {},
    }
    for name, rate in RATES.items():
        if rate is hidden_passed and not hidden:
            continue
        now = _prompt_rates(verdicts, rate)
        if rate is hidden_passed:
            now = {prompt: share for prompt, share in now.items() if prompt in probed}
        record[name] = asdict(bootstrap_rate(list(now.values()), seed))
        if baseline is not None:
            before = _prompt_rates(baseline, rate)
            pair = paired_difference([before[k] for k in now], list(now.values()), seed)
            record["differences"][name] = asdict(pair)
    return record


def _truncated(verdicts: Sequence[Verdict]) -> int:
    """Count answers that the limit of tokens cut."""
    return sum(verdict.sample.finish_reason == "length" for verdict in verdicts)


def _error_classes(results: Sequence[VerifyResult]) -> dict[str, int]:
    """Count failures by class, the commonest first."""
    found = Counter(kind for r in results if (kind := error_class(r)) is not None)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _prompt_rates(
    verdicts: Sequence[Verdict], rate: Callable[[VerifyResult], bool]
) -> dict[str, float]:
    groups = _by_prompt(verdicts)
    return {
        prompt: fmean(float(rate(result)) for result in groups[prompt]) for prompt in sorted(groups)
    }


def _by_prompt(verdicts: Sequence[Verdict]) -> Mapping[str, list[VerifyResult]]:
    groups: dict[str, list[VerifyResult]] = {}
    for verdict in verdicts:
        if verdict.result is not None:
            groups.setdefault(verdict.sample.prompt.id, []).append(verdict.result)
    return groups


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
