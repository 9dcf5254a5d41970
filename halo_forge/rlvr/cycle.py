"""The loop: generate, verify, select, train, measure; and again.

There is no resume path. Each stage does what is owed and nothing else: answers are owed until
they are in the journal, a cycle until its checkpoint exists, a measurement until its record is
there. The first attempt and the tenth retry run the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import CheckFailed
from halo_forge.core.identity import derive_seed
from halo_forge.core.types import Prompt, Verdict
from halo_forge.engines.base import Engine
from halo_forge.rlvr.budget import Budget, savings
from halo_forge.rlvr.controls import MEANINGS, controlled, named
from halo_forge.rlvr.replay import Source
from halo_forge.rlvr.rollout import Plan, Rollout, collect
from halo_forge.rlvr.schedule import learning_rate, temperature
from halo_forge.rlvr.shaping import Bar
from halo_forge.rlvr.statistics import RATES, cycle_record, heldout_record, means, metrics
from halo_forge.rlvr.steering import Course
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.rlvr.weighting import Choice, choice_record, choose, objective
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
        open_engine: Returns an engine for a policy reference, its label and a temperature.
        verifier: Judges training answers.
        examiner: Judges held-out answers; may score hidden tests too.
        learner: Takes gradient steps.
        trackers: Mirrors of the figures.
        observer: Shows the progress.
        describe: Writes the model card of a cycle's checkpoint with the figures so far.
        source: Run whose answers are trained on; None: the policy answers.
        earlier_rates: Pass rates in earlier runs, for the historical curriculum.
    """

    config: RaftConfig
    run: RunDir
    prompts: Sequence[Prompt]
    eval_prompts: Sequence[Prompt]
    open_engine: Callable[[str, str, float], Engine]
    verifier: Verifier
    examiner: Verifier
    learner: Learner
    trackers: Sequence[Tracker]
    observer: Observer
    describe: Callable[[int], None]
    source: Source | None = None
    earlier_rates: Mapping[str, float] = field(default_factory=dict)

    @property
    def course(self) -> Course:
        """What steers the run and notes what it shows."""
        return Course(self.config, self.run, self.observer, self.earlier_rates)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a cycle begins.

    Attributes:
        start: The policy that the run began with.
        policy: The policy that answers, and is trained unless each cycle restarts.
        cycle: The cycle that made it; 0 for ``start``.
    """

    start: str
    policy: str
    cycle: int


def run_cycles(crew: Collaborators, start: str) -> None:
    """Run every cycle that is owed, from the policy ``start``.

    Raises:
        CheckFailed: If a cycle has too few answers worth training on.
        HaloForgeError: What any stage raises; everything done so far stays on disk.
    """
    control = crew.config.raft.control
    if control != "none":
        crew.observer.message(f"CONTROL {control}, not a verified run: {MEANINGS[control]}")
    origin = _Origin(start, start, 0)
    baseline = _measure(crew, 0, start, None)
    measured = {0: crew.course.rates(baseline)}
    for cycle in range(1, crew.config.raft.num_cycles + 1):
        prompts = crew.course.prompts(cycle, crew.prompts)
        if not prompts:
            crew.course.all_retired(cycle)
            return
        _learn(crew, cycle, origin, prompts)
        origin = _Origin(start, str(crew.run.checkpoint_path(cycle)), cycle)
        crew.describe(cycle)
        verdicts = _measure(crew, cycle, origin.policy, baseline)
        crew.describe(cycle)
        measured[cycle] = crew.course.rates(verdicts)
        decision = crew.course.decide(cycle, measured)
        if decision.action == "stop":
            return
        if decision.action == "rollback":
            best = decision.best
            policy = str(crew.run.checkpoint_path(best)) if best else start
            origin = _Origin(start, policy, best)


def _learn(crew: Collaborators, cycle: int, origin: _Origin, prompts: Sequence[Prompt]) -> None:
    """Bring a cycle to its checkpoint and its record."""
    trained = crew.run.is_complete(cycle)
    noted = any(r["cycle"] == cycle and "kept" in r for r in crew.run.read_statistics())
    if trained and noted:
        crew.observer.message(f"Cycle {cycle} already complete, skipping...")
        return
    bar = crew.course.bar(cycle)
    rollout = _answers(crew, cycle, origin, prompts, bar)
    choice = _choose(crew, cycle, rollout.verdicts, bar)
    trained_from = origin.start if crew.config.raft.restart else origin.policy
    report = None if trained else _train(crew, cycle, trained_from, choice)
    record = {
        **_record(crew, cycle, rollout, choice, report, bar),
        **crew.course.observed(cycle, rollout.verdicts, choice.good, bar, crew.verifier.program),
        **({"start": origin.cycle} if origin.cycle != cycle - 1 else {}),
    }
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


def _answers(
    crew: Collaborators, cycle: int, origin: _Origin, prompts: Sequence[Prompt], bar: Bar
) -> Rollout:
    config = crew.config
    adaptive = config.generation.sampling == "adaptive"
    plan = Plan(
        name=f"cycle {cycle}",
        prompts=prompts,
        samples_per_prompt=config.raft.samples_per_prompt,
        seed=derive_seed(config.seed, "generate", cycle),
        samples_path=crew.run.samples_path(cycle),
        verified_path=crew.run.verified_path(cycle),
        budget=Budget(config.adaptive, bar.threshold) if adaptive else None,
    )
    crew.observer.message(f"Cycle {cycle} of {config.raft.num_cycles}")
    heat = temperature(config.generation.temperature, config.raft, cycle)
    opener: Callable[[], Engine] = partial(
        crew.open_engine, origin.policy, _label(origin.cycle), heat
    )
    if crew.source is not None:
        crew.source.bring(crew.run, cycle)
        crew.observer.message(crew.source.words(cycle))
        opener = crew.source.no_engine
    return collect(plan, opener, crew.verifier, crew.observer)


def _choose(crew: Collaborators, cycle: int, verdicts: Sequence[Verdict], bar: Bar) -> Choice:
    loop = crew.config.raft
    choosing = choose if loop.control == "none" else controlled
    choice = choosing(
        verdicts,
        loop,
        threshold=bar.threshold,
        keep=bar.keep,
        seed=derive_seed(crew.config.seed, "select", cycle),
    )
    if len(choice.good) < loop.min_samples:
        mixed = " to prompts that also have bad ones" if loop.algorithm == "reinforce-rej" else ""
        raise CheckFailed(
            f"cycle {cycle}: {len(choice.good)} of {len(verdicts)} answers{mixed} ended by "
            f"themselves and reached reward_threshold = {bar.threshold:g}; min_samples "
            f"asks for {loop.min_samples}. Nothing was trained. Use easier prompts, more "
            "samples_per_prompt, a longer max_new_tokens or a lower threshold (with --fork DIR, "
            "from this point)."
        )
    return choice


def _train(crew: Collaborators, cycle: int, policy: str, choice: Choice) -> FitReport:
    config = crew.config
    rate = learning_rate(config.training, cycle)
    heat = temperature(config.generation.temperature, config.raft, cycle)
    costs = objective(config.raft, choice, heat)
    against = f" and against {len(choice.bad)}" if choice.bad else ""
    crew.observer.message(
        f"Cycle {cycle}: training on {len(choice.good)} answers{against} at {rate:.2e}"
    )
    request = FitRequest(
        policy=policy,
        output=crew.run.checkpoint_path(cycle),
        learning_rate=rate,
        seed=derive_seed(config.seed, "train", cycle),
        training=config.training,
        lora=config.lora,
        hardware=config.hardware,
        trust_remote_code=config.model.trust_remote_code,
        meta={"cycle": cycle, "kept": len(choice.good), **named(config.raft.control)},
        objective=costs,
        images=config.images,
    )
    examples = choice.examples(with_logprobs=costs is not None and costs.ratio)
    return crew.learner.fit(examples, request, crew.observer)


def _record(
    crew: Collaborators,
    cycle: int,
    rollout: Rollout,
    choice: Choice,
    report: FitReport | None,
    bar: Bar,
) -> dict[str, Any]:
    """Return a cycle's figures; those of training are absent when a kill came just after it."""
    config = crew.config
    trained = report.seconds if report is not None else 0.0
    seconds = rollout.generation_seconds + rollout.verification_seconds + trained
    speed = rollout.tokens / rollout.generation_seconds if rollout.tokens else None
    verdicts = rollout.verdicts
    above = sum(v.result.reward >= bar.threshold for v in verdicts if v.result)
    return {
        **cycle_record(verdicts, choice.good),
        **choice_record(choice, verdicts, config.raft, bar.threshold),
        **(crew.source.record(cycle) if crew.source is not None else {}),
        "above_threshold": above,
        "effective_threshold": bar.threshold,
        "effective_keep": bar.keep,
        "temperature": temperature(config.generation.temperature, config.raft, cycle),
        "learning_rate": learning_rate(config.training, cycle),
        "generation_seconds": rollout.generation_seconds,
        "verification_seconds": rollout.verification_seconds,
        "verification_added_seconds": rollout.added_seconds,
        "tokens_per_s": speed,
        "elapsed_minutes": seconds / 60,
        **named(config.raft.control),
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
        **report.figures,
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
        plan,
        lambda: crew.open_engine(policy, _label(cycle), crew.config.generation.temperature),
        crew.examiner,
        crew.observer,
    ).verdicts
    known = {record["cycle"]: record for record in crew.run.read_statistics()}
    if "heldout" not in known.get(cycle, {}):
        heldout = heldout_record(verdicts, baseline, crew.config.seed)
        heldout |= crew.course.seen(verdicts, crew.examiner.program, plan.name)
        rates = {name: heldout[name]["mean"] for name in RATES if name in heldout}
        _track(
            crew, cycle, {f"eval/{name}": rate for name, rate in (rates | means(heldout)).items()}
        )
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
