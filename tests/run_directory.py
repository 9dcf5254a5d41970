"""A run directory as a run writes it, from verdicts that a test names; no engine, no learner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from halo_forge.config.load import dump_yaml
from halo_forge.config.raft import RaftConfig
from halo_forge.core.types import Prompt, Verdict
from halo_forge.data.prompts import write_prompts
from halo_forge.rlvr.statistics import cycle_record, heldout_record
from halo_forge.store.codec import verdict_record
from halo_forge.store.records import Journal
from halo_forge.store.run_dir import RunDir

MACHINE = {"cpu": "a CPU", "cores": 2, "memory_total": 8 << 30, "gpus": []}


def make_run(
    path: Path,
    training: Mapping[int, Sequence[Verdict]],
    heldout: Mapping[int, Sequence[Verdict]] | None = None,
    **settings: Any,
) -> Path:
    """Write a run whose cycles have these verdicts, and return its directory."""
    config = RaftConfig.model_validate(
        {
            "model": {"name": "builtin:smollm2-135m"},
            "output_dir": str(path),
            "prompts": "prompts.jsonl",
            "raft": {"num_cycles": 3},
            **settings,
        }
    )
    run = RunDir(path)
    attempt = {"command": ["halo-forge", "raft", "train"], "machine": MACHINE}
    run.claim(config.guarded(), attempt, dump_yaml(config))
    write_prompts(run.prompts_path, _prompts(training))
    baseline = None
    for cycle, verdicts in sorted((heldout or {}).items()):
        _write(run.eval_path(cycle), verdicts)
        run.update_statistics(cycle, {"heldout": heldout_record(verdicts, baseline, seed=0)})
        baseline = baseline or verdicts
    write_prompts(run.eval_prompts_path, _prompts(heldout or {}))
    for cycle, verdicts in training.items():
        _write(run.verified_path(cycle), verdicts)
        kept = [v for v in verdicts if v.result is not None and v.result.success]
        run.update_statistics(cycle, {**cycle_record(verdicts, kept), **_figures(cycle)})
        run.checkpoint_path(cycle).mkdir()
        (run.checkpoint_path(cycle) / "adapter_config.json").touch()
    return path


def _prompts(cycles: Mapping[int, Sequence[Verdict]]) -> list[Prompt]:
    verdicts = [verdict for cycle in cycles.values() for verdict in cycle]
    return list({v.sample.prompt.id: v.sample.prompt for v in verdicts}.values())


def _write(path: Path, verdicts: Sequence[Verdict]) -> None:
    with Journal(path, lambda record: str(record["id"])) as journal:
        for verdict in verdicts:
            assert verdict.result is not None
            journal.append(verdict_record(verdict.sample, verdict.result))


def _figures(cycle: int) -> dict[str, float]:
    return {
        "generation_seconds": 30.0 + cycle,
        "verification_seconds": 2.0,
        "training_seconds": 12.0,
        "learning_rate": 5e-5 * 0.85 ** (cycle - 1),
        "loss": 1.0 / cycle,
        "elapsed_minutes": 0.75,
    }
