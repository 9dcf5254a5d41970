"""Judged answers on disk, of a benchmark or of a run's held-out evaluation, ready to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halo_forge.core.errors import StoreFault, UserError
from halo_forge.core.types import VerifyResult
from halo_forge.rlvr.statistics import compiled
from halo_forge.store.judged import read_judged
from halo_forge.store.run_dir import RunDir

__all__ = ["COUNTS", "Measured", "read_measured"]

COUNTS: Mapping[str, Callable[[VerifyResult], bool]] = {
    "pass": lambda result: result.success,
    "compile": compiled,
}
"""What may be counted, as in `CompareConfig.rate`, and whether one answer counts."""

_VERIFIER = "verifier."


@dataclass(frozen=True, slots=True)
class Measured:
    """One model's answers to the problems of a benchmark, counted.

    Attributes:
        name: Where they lie, as the user wrote it.
        model: Which model or checkpoint spoke.
        samples: Answers to each problem, the same for all.
        counts: For each problem how many answers count.
        conditions: What must be alike in a comparison: the problems' content, the verifier.
        settings: What else the figures depend on, for telling what differs.
    """

    name: str
    model: str
    samples: int
    counts: Mapping[str, int]
    conditions: Mapping[str, Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where judged answers lie.

    Attributes:
        answers: Their journal.
        prompts_key: Setting with the digest of the problems.
        samples_key: Setting with the number of answers to a problem.
        total: How many answers a finished measurement has.
    """

    answers: Path
    prompts_key: str
    samples_key: str
    total: int


def read_measured(path: Path, rate: str = "pass") -> Measured:
    """Read what was measured.

    Args:
        path: Folder or ``result.json`` of a benchmark; a run directory, for its last held-out
            evaluation; or one of its ``cycle_N_eval.jsonl``.
        rate: ``pass`` or ``compile``: which answers count.

    Raises:
        UserError: If there is no such thing, or it is not finished.
        StoreFault: If a file is damaged.
    """
    run = RunDir(path if path.is_dir() else path.parent)
    if not path.exists():
        raise UserError(f"{path}: no such file or directory")
    info = run.read_info()
    if info is None:
        raise UserError(
            f"{path}: there is no {run.run_json.name} beside it, which says under which conditions "
            "it was measured. Give the folder of a benchmark, or a run directory."
        )
    place = _benchmark(run, path, info["guarded"]) or _evaluation(run, path)
    return _counted(str(path), place, info["guarded"], rate)


def _benchmark(run: RunDir, path: Path, guarded: Mapping[str, Any]) -> _Place | None:
    """Return the answers of a benchmark, if this is one."""
    if path.is_file() and path not in {run.benchmark_result_path, run.benchmark_samples_path}:
        return None
    if not run.benchmark_samples_path.exists():
        return None
    result = run.read_benchmark()
    if result is None:
        raise UserError(
            f"{path}: this benchmark is not finished. The command that started it goes on with it."
        )
    try:
        total = int(result["prompts"]) * int(guarded["samples"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreFault(f"{run.path}: not the result of a benchmark ({error!r})") from error
    return _Place(run.benchmark_samples_path, "prompts.content", "samples", total)


def _evaluation(run: RunDir, path: Path) -> _Place:
    """Return the answers of a held-out evaluation: the file that was named, or the last one."""
    done = {
        record["cycle"]: record["heldout"]["samples"]
        for record in run.read_statistics()
        if record.get("heldout")
    }
    if path.is_file():
        done = {cycle: total for cycle, total in done.items() if run.eval_path(cycle) == path}
    if not done:
        raise UserError(
            f"{path}: neither a finished benchmark nor a finished held-out evaluation. Give the "
            "folder of `benchmark run` or `eval`, or a run with --eval-prompts, or one of its "
            f"{run.eval_path(0).name.replace('0', 'N')}."
        )
    last = max(done)
    key = "evaluation.samples_per_prompt"
    return _Place(run.eval_path(last), "eval_prompts.content", key, done[last])


def _counted(name: str, place: _Place, guarded: Mapping[str, Any], rate: str) -> Measured:
    samples = guarded.get(place.samples_key)
    digest = guarded.get(place.prompts_key)
    if not isinstance(samples, int) or digest is None:
        raise StoreFault(f"{name}: its run.json does not say {place.samples_key}")
    answers = list(read_judged(place.answers))
    counts: dict[str, int] = {}
    each: dict[str, int] = {}
    for answer in answers:
        counted = COUNTS[rate](answer.result)
        counts[answer.prompt_id] = counts.get(answer.prompt_id, 0) + counted
        each[answer.prompt_id] = each.get(answer.prompt_id, 0) + 1
    if len(answers) != place.total or set(each.values()) != {samples}:
        raise StoreFault(
            f"{place.answers}: holds {len(answers)} answers, {place.total} were judged. The "
            "command that made them makes the missing ones anew."
        )
    verifier = {key: value for key, value in guarded.items() if key.startswith(_VERIFIER)}
    settings = {
        key: value
        for key, value in guarded.items()
        if key not in verifier and key not in {place.prompts_key, place.samples_key}
    }
    model = answers[0].policy
    return Measured(name, model, samples, counts, {"prompts": digest, **verifier}, settings)
