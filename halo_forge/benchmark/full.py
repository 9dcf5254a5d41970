"""`halo-forge benchmark full`: measure a model, train it, measure it again.

Nothing is done here that is not done elsewhere: `run_benchmark` measures, `RAFTTrainer` trains, and
`compare` says what differs. Each goes on where it was, so this does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halo_forge.benchmark.compare import Comparison, compare
from halo_forge.benchmark.measured import COUNTS, read_measured
from halo_forge.benchmark.runner import BenchmarkResult, run_benchmark
from halo_forge.config.full import FullConfig
from halo_forge.core.errors import CheckFailed
from halo_forge.rlvr.material import read_material
from halo_forge.rlvr.raft_trainer import RAFTTrainer
from halo_forge.store.atomic import disk_errors
from halo_forge.store.full_dir import FullDir
from halo_forge.store.run_dir import RunDir
from halo_forge.tracking.base import Observer
from halo_forge.tracking.load_log import LoadLog, log_load

__all__ = ["FullResult", "run_full"]


@dataclass(frozen=True, slots=True)
class FullResult:
    """What became of one model.

    Attributes:
        model: Its reference.
        cycles: Cycles of training between the measurements.
        folder: Where everything lies.
        changes: For each rate (``pass``, ``compile``) before, after and the difference, at k = 1.
        seconds: Seconds of the stages, without attempts that were interrupted.
    """

    model: str
    cycles: int
    folder: Path
    changes: Mapping[str, Comparison]
    seconds: Mapping[str, float]


def run_full(config: FullConfig, observer: Observer) -> Iterator[FullResult]:
    """Do what is owed for each model, in turn, and yield its result.

    Raises:
        UserError: If an input is wrong, a held-out prompt is also trained on, or a folder holds
            something that was made with other settings.
        CheckFailed: After the last model, if a cycle of one had too few answers worth training on.
        Fault: If the machine or the disk lets us down; the same command goes on later.
    """
    # A held-out prompt that is also trained on is found here, before anything is measured.
    asked = config.learning(config.models[0], "")
    read_material(asked.model_copy(update={"eval_prompts": config.eval_prompts}))
    failed: list[str] = []
    for model in config.models:
        try:
            result = _one(config, model, observer)
        except CheckFailed as error:
            failed.append(f"{model}: {error}")
            observer.message(failed[-1])
        else:
            yield result
    if failed:
        raise CheckFailed("\n".join(failed))


def _one(config: FullConfig, model: str, observer: Observer) -> FullResult:
    folder = FullDir.of(config.output_dir, model)
    with RunDir(folder.path).lock(), ExitStack() as stack:
        with disk_errors(folder.load_path):
            log = stack.enter_context(log_load(folder.load_path, config.sample_seconds))
        before = _measure(config, model, folder.baseline, log, observer)
        records = _learn(config, model, folder, log, observer)
        checkpoint = str(folder.raft.checkpoint_path(config.cycles))
        final = folder.final(config.cycles)
        after = _measure(config, checkpoint, final, log, observer)
    pair = (folder.baseline.path, final.path)
    changes = {
        rate: compare(*(read_measured(path, rate) for path in pair), seed=config.seed)
        for rate in COUNTS
    }
    seconds = {
        "baseline": before.timing["total_seconds"],
        "training": 60 * sum(record["elapsed_minutes"] for record in records),
        "final": after.timing["total_seconds"],
    }
    return FullResult(model, config.cycles, folder.path, changes, seconds)


def _measure(
    config: FullConfig, model: str, run: RunDir, log: LoadLog, observer: Observer
) -> BenchmarkResult:
    log.stage = run.path.name
    observer.message(f"{model}: {log.stage}")
    return run_benchmark(config.measuring(model, str(run.path)), observer)


def _learn(
    config: FullConfig, model: str, folder: FullDir, log: LoadLog, observer: Observer
) -> list[dict[str, Any]]:
    log.stage = folder.raft.path.name
    observer.message(f"{model}: training, {config.cycles} cycle{'s' * (config.cycles > 1)}")
    trainer = RAFTTrainer(config.learning(model, str(folder.raft.path)), observer=observer)
    records = trainer.train()
    return [record for record in records if 0 < record["cycle"] <= config.cycles]
