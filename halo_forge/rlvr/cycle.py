"""The loop: generate, verify, select, train, measure; and again.

There is no resume path. Each stage does what is owed and nothing else: answers are owed until
they are in the journal, a cycle until its checkpoint exists, a measurement until its record is
there. The first attempt and the tenth retry run the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import CheckFailed
from halo_forge.core.identity import derive_seed
from halo_forge.core.types import Prompt, Verdict
from halo_forge.engines.base import Engine
from halo_forge.rlvr.budget import Budget, savings
from halo_forge.rlvr.rollout import Plan, Rollout, collect
from halo_forge.rlvr.schedule import learning_rate
from halo_forge.rlvr.selection import select, to_example
from halo_forge.rlvr.statistics import RATES, cycle_record, heldout_record, metrics
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.sft.base import FitReport, FitRequest, Learner
from halo_forge.store.run_dir import RunDir
from halo_forge.tracking.base import Observer, Tracker

__all__ = ["Collaborators", "run_cycles"]


@dataclass(frozen=True, slots=True)
class Collaborators:
    """Who does the work of a run.

    Attributes:
        config: Settings.
        run: Run directory.
        prompts: Training prompts.
        eval_prompts: Held-out prompts; may be empty.
        open_engine: Returns an engine for a policy reference and its label.
        verifier: Judges training answers.
        examiner: Judges held-out answers; may score hidden tests too.
        learner: Takes gradient steps.
        trackers: Mirrors of the figures.
        observer: Shows the progress.
    """

    config: RaftConfig
    run: RunDir
    prompts: Sequence[Prompt]
    eval_prompts: Sequence[Prompt]
    open_engine: Callable[[str, str], Engine]
    verifier: Verifier
    examiner: Verifier
    learner: Learner
    trackers: Sequence[Tracker]
    observer: Observer


def run_cycles(crew: Collaborators, start: str) -> None:
    """Run every cycle that is owed, from the policy ``start``.

    Raises:
        CheckFailed: If a cycle has too few answers worth training on.
        HaloForgeError: What any stage raises; everything done so far stays on disk.
    """
    policy = start
    baseline = _measure(crew, 0, policy, None)
    for cycle in range(1, crew.config.raft.num_cycles + 1):
        _learn(crew, cycle, policy)
        policy = str(crew.run.checkpoint_path(cycle))
        _measure(crew, cycle, policy, baseline)


def _learn(crew: Collaborators, cycle: int, policy: str) -> None:
    """Bring a cycle to its checkpoint and its record."""
    trained = crew.run.is_complete(cycle)
    noted = any(r["cycle"] == cycle and "kept" in r for r in crew.run.read_statistics())
    if trained and noted:
        crew.observer.message(f"Cycle {cycle} already complete, skipping...")
        return
    rollout = _answers(crew, cycle, policy)
    kept = _select(crew, cycle, rollout.verdicts)
    report = None if trained else _train(crew, cycle, policy, kept)
    record = _record(crew.config, cycle, rollout, kept, report)
    # A kill between the two tells the trackers twice, which is better than never.
    _track(crew, cycle, metrics(record))
    crew.run.update_statistics(cycle, record)
    crew.observer.message(_times(cycle, record))


def _times(cycle: int, record: Mapping[str, Any]) -> str:
    """Say how long a cycle took in this attempt, and what judging added to it."""
    return (
        f"Cycle {cycle} took {record['elapsed_minutes'] * 60:.1f} s: "
        f"{record['generation_seconds']:.1f} s generating, "
        f"{record.get('training_seconds', 0.0):.1f} s training; "
        f"judging lengthened it by {record['verification_added_seconds']:.1f} s"
    )


def _answers(crew: Collaborators, cycle: int, policy: str) -> Rollout:
    config = crew.config
    adaptive = config.generation.sampling == "adaptive"
    plan = Plan(
        name=f"cycle {cycle}",
        prompts=crew.prompts,
        samples_per_prompt=config.raft.samples_per_prompt,
        seed=derive_seed(config.seed, "generate", cycle),
        samples_path=crew.run.samples_path(cycle),
        verified_path=crew.run.verified_path(cycle),
        budget=Budget(config.adaptive, config.raft.reward_threshold) if adaptive else None,
    )
    crew.observer.message(f"Cycle {cycle} of {config.raft.num_cycles}")
    return collect(
        plan, lambda: crew.open_engine(policy, _label(cycle - 1)), crew.verifier, crew.observer
    )


def _select(crew: Collaborators, cycle: int, verdicts: Sequence[Verdict]) -> list[Verdict]:
    loop = crew.config.raft
    kept = select(
        verdicts,
        threshold=loop.reward_threshold,
        keep=loop.keep_top_percent,
        seed=derive_seed(crew.config.seed, "select", cycle),
    )
    if len(kept) < loop.min_samples:
        raise CheckFailed(
            f"cycle {cycle}: {len(kept)} of {len(verdicts)} answers ended by themselves and "
            f"reached reward_threshold = {loop.reward_threshold:g}; min_samples asks for "
            f"{loop.min_samples}. Nothing was trained. Use easier prompts, more "
            "samples_per_prompt, a longer max_new_tokens or a lower threshold (with --fork DIR, "
            "from this point)."
        )
    return kept


def _train(crew: Collaborators, cycle: int, policy: str, kept: Sequence[Verdict]) -> FitReport:
    config = crew.config
    rate = learning_rate(config.training, cycle)
    crew.observer.message(f"Cycle {cycle}: training on {len(kept)} answers at {rate:.2e}")
    request = FitRequest(
        policy=policy,
        output=crew.run.checkpoint_path(cycle),
        learning_rate=rate,
        seed=derive_seed(config.seed, "train", cycle),
        training=config.training,
        lora=config.lora,
        hardware=config.hardware,
        trust_remote_code=config.model.trust_remote_code,
        meta={"cycle": cycle, "kept": len(kept)},
        images=config.images,
    )
    return crew.learner.fit([to_example(v.sample) for v in kept], request, crew.observer)


def _record(
    config: RaftConfig,
    cycle: int,
    rollout: Rollout,
    kept: Sequence[Verdict],
    report: FitReport | None,
) -> dict[str, Any]:
    """Return a cycle's figures; those of training are absent when a kill came just after it."""
    trained = report.seconds if report is not None else 0.0
    seconds = rollout.generation_seconds + rollout.verification_seconds + trained
    speed = rollout.tokens / rollout.generation_seconds if rollout.tokens else None
    verdicts = rollout.verdicts
    above = sum(v.result.reward >= config.raft.reward_threshold for v in verdicts if v.result)
    return {
        **cycle_record(verdicts, kept),
        "above_threshold": above,
        "effective_threshold": config.raft.reward_threshold,
        "temperature": config.generation.temperature,
        "learning_rate": learning_rate(config.training, cycle),
        "generation_seconds": rollout.generation_seconds,
        "verification_seconds": rollout.verification_seconds,
        "verification_added_seconds": rollout.added_seconds,
        "tokens_per_s": speed,
        "elapsed_minutes": seconds / 60,
        **_savings(config, rollout),
        **(_training_figures(report) if report is not None else {}),
    }


def _savings(config: RaftConfig, rollout: Rollout) -> dict[str, Any]:
    if config.generation.sampling == "fixed":
        return {}
    return savings(rollout.verdicts, rollout.ends, config.raft.samples_per_prompt)


def _training_figures(report: FitReport) -> dict[str, float]:
    return {
        "steps": report.steps,
        "loss": report.loss,
        "grad_norm": report.grad_norm,
        "training_entropy": report.entropy,
        "training_tokens": report.tokens,
        "training_seconds": report.seconds,
    }


def _measure(
    crew: Collaborators, cycle: int, policy: str, baseline: Sequence[Verdict] | None
) -> Sequence[Verdict] | None:
    """Judge held-out answers of ``policy``; return their verdicts.

    Every cycle draws with the same seeds, which makes the paired differences tighter.
    """
    if not crew.eval_prompts:
        return None
    plan = Plan(
        name=f"held-out after cycle {cycle}" if cycle else "held-out baseline",
        prompts=crew.eval_prompts,
        samples_per_prompt=crew.config.evaluation.samples_per_prompt,
        seed=derive_seed(crew.config.seed, "evaluate"),
        samples_path=None,
        verified_path=crew.run.eval_path(cycle),
    )
    verdicts = collect(
        plan, lambda: crew.open_engine(policy, _label(cycle)), crew.examiner, crew.observer
    ).verdicts
    known = {record["cycle"]: record for record in crew.run.read_statistics()}
    if "heldout" not in known.get(cycle, {}):
        heldout = heldout_record(verdicts, baseline, crew.config.seed)
        rates = {name: heldout[name]["mean"] for name in RATES if name in heldout}
        _track(crew, cycle, {f"eval/{name}": rate for name, rate in rates.items()})
        crew.run.update_statistics(cycle, {"heldout": heldout})
        crew.observer.message(
            f"{plan.name}: " + ", ".join(f"{name} {rate:.3f}" for name, rate in rates.items())
        )
    return verdicts


def _track(crew: Collaborators, cycle: int, figures: Mapping[str, float]) -> None:
    for tracker in crew.trackers:
        tracker.log(cycle, figures)


def _label(cycle: int) -> str:
    return f"cycle_{cycle}" if cycle else "start"
