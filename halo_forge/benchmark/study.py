"""How much of a gain is the verifier's: the same run with it and without, compared by prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from halo_forge.benchmark.compare import Comparison, compare, require_comparable
from halo_forge.benchmark.measured import COUNTS, Measured, read_measured
from halo_forge.config.sft import SFTConfig
from halo_forge.config.study import Arm, StudyConfig
from halo_forge.core.errors import CheckFailed, UserError, VerifierFault
from halo_forge.core.types import Prompt, Sample
from halo_forge.data.prompts import load_prompts, write_prompts
from halo_forge.rlvr.judges import make_verifier
from halo_forge.rlvr.material import read_material
from halo_forge.rlvr.raft_trainer import RAFTTrainer
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.store.run_dir import RunDir
from halo_forge.store.study_dir import StudyDir
from halo_forge.tracking.base import Observer
from halo_forge.utils.text import fenced

__all__ = ["ArmResult", "Study", "arm_result", "run_study"]

_BASELINE = "before training"


@dataclass(frozen=True, slots=True)
class ArmResult:
    """What one arm came to, on one rate.

    Attributes:
        arm: The arm.
        gain: The arm against the policy that all began with, all seeds together.
        verifiers: The verified arm against this one; None for the verified arm itself.
        by_seed: Gain in each seed, from 0 to 1.
        tokens: Tokens of the answers that were sampled for training, all seeds together.
    """

    arm: Arm
    gain: Comparison
    verifiers: Comparison | None
    by_seed: Mapping[int, float]
    tokens: int


@dataclass(frozen=True, slots=True)
class Study:
    """What a study found.

    Attributes:
        seeds: Seeds of the runs.
        results: For ``pass`` and ``compile`` one result an arm, in the order asked for.
        ended: For runs that ended early, by arm and seed: after which cycle, and why.
    """

    seeds: Sequence[int]
    results: Mapping[str, Sequence[ArmResult]]
    ended: Mapping[str, str]


def run_study(config: StudyConfig, observer: Observer) -> Study:
    """Do what is owed of a study and return what it found.

    Each arm with each seed is a run directory beneath ``config.output_dir`` and goes on as such;
    finished ones do nothing. An arm that ends early because it has too little to train on is
    measured where it ended, and that is said.

    Raises:
        UserError: If an input is wrong, or a run directory belongs to other settings.
        Fault: If the machine or the disk lets us down; the same command goes on later.
    """
    folder = StudyDir(Path(config.output_dir))
    if config.eval_prompts is None:
        raise UserError("a study compares held-out prompts: give them with --eval-prompts")
    if "sft" in config.arms:
        _write_references(config, folder, observer)
    seeds = range(config.seed, config.seed + config.seeds)
    ended: dict[str, str] = {}
    for seed in seeds:
        # the verified arm first: its twins take their first answers from it
        for arm in sorted(config.arms, key=lambda one: one != "verified"):
            observer.message(f"Study: {arm}, seed {seed}")
            try:
                _run(config, arm, seed, folder, observer)
            except CheckFailed as error:
                ended[f"{arm}, seed {seed}"] = str(error)
                observer.message(f"Study: {arm}, seed {seed} ends here: {error}")
    return Study(seeds, {rate: _results(config, seeds, folder, rate) for rate in COUNTS}, ended)


def arm_result(
    arm: Arm, pooled: Mapping[str, Measured], by_seed: Mapping[int, float], tokens: int
) -> ArmResult:
    """Return the result of an arm from what was measured, all seeds together.

    Args:
        arm: The arm.
        pooled: Of every arm, and of the policy before training.
        by_seed: Its gain in each seed.
        tokens: Of the answers that it sampled for training.
    """
    one, verified = pooled[arm], pooled["verified"]
    verifiers = None if arm == "verified" else compare(one, verified)
    return ArmResult(arm, compare(pooled[_BASELINE], one), verifiers, by_seed, tokens)


def _run(config: StudyConfig, arm: Arm, seed: int, folder: StudyDir, observer: Observer) -> None:
    output = str(folder.arm_path(arm, seed))
    if arm != "sft":
        twin = folder.arm_path("verified", seed) if arm != "verified" else None
        RAFTTrainer(config.arm(arm, seed, output), observer=observer, twin=twin).train()
        return
    from halo_forge.sft.trainer import SFTTrainer

    tuning = SFTConfig.model_validate(
        {
            "model": {
                **config.model.model_dump(),
                "name": config.sft_checkpoint or config.model.name,
            },
            "data": {"train_file": str(folder.references_path), "validation_split": 0.0},
            "output_dir": str(folder.tuning_path(seed)),
            "seed": seed,
            "training": config.sft.model_dump(),
            "lora": config.lora.model_dump(),
            "hardware": config.hardware.model_dump(),
            "images": config.images.model_dump(),
            "report_to": config.report_to,
        }
    )
    tuned = SFTTrainer(tuning, observer=observer).train()["final_model"]
    RAFTTrainer(config.arm(arm, seed, output, sft_checkpoint=tuned), observer=observer).train()


def _write_references(config: StudyConfig, folder: StudyDir, observer: Observer) -> None:
    prompts = read_material(config).prompts
    known = [prompt for prompt in prompts if prompt.reference.solution is not None]
    if not known:
        raise UserError(
            f"{config.prompts}: the arm sft learns from reference solutions, and none of the "
            f"{len(prompts)} training prompts has one. Leave it out of --arms."
        )
    if len(known) < len(prompts):
        observer.message(f"Arm sft: {len(known)} of {len(prompts)} prompts have a reference")
    path = folder.references_path
    with folder.alone():
        if path.is_file() and load_prompts(path) == known:
            return
        _require_right(config, known)
        write_prompts(path, known)


def _require_right(config: StudyConfig, prompts: Sequence[Prompt]) -> None:
    """Refuse reference solutions that the verifier does not pass: they would be learnt from."""
    samples = [
        Sample(one, 0, fenced(one.reference.solution or "", one.language or "")) for one in prompts
    ]
    with make_verifier(config.verifier) as verifier:
        verifier.start(prompts)
        verdicts = list(judge_all(verifier, samples))
    for verdict in verdicts:
        if verdict.result is None:
            raise VerifierFault(f"reference of {verdict.sample.prompt.id!r}: {verdict.fault}")
    wrong = sorted(
        (v.sample.prompt.id, v.result.details)
        for v in verdicts
        if v.result and not v.result.success
    )
    if wrong:
        name, why = wrong[0]
        raise UserError(
            f"{config.prompts}: the arm sft learns from reference solutions, and {len(wrong)} of "
            f"{len(prompts)} do not pass {config.verifier.type}, first that of {name!r}: {why}. "
            "Leave these prompts out (halo-forge data validate FILE --gold --write NEW), or sft "
            "out of --arms."
        )


def _read(folder: StudyDir, arm: Arm, seed: int, rate: str, most: int) -> tuple[Measured, Measured]:
    """Return what was measured before an arm's first cycle, and at its end.

    An arm that was once asked for more than ``most`` cycles is measured where the others end.
    """
    run = RunDir(folder.arm_path(arm, seed))
    measured = [record["cycle"] for record in run.read_statistics() if "heldout" in record]
    last = max(cycle for cycle in measured if cycle <= most)
    return read_measured(run.eval_path(0), rate), read_measured(run.eval_path(last), rate)


def _results(
    config: StudyConfig, seeds: Sequence[int], folder: StudyDir, rate: str
) -> list[ArmResult]:
    arms, most = config.arms, config.raft.num_cycles
    measured = {(arm, seed): _read(folder, arm, seed, rate, most) for arm in arms for seed in seeds}
    # not that of the arm sft, which is measured with the model that is already tuned
    before = {seed: measured["verified", seed][0] for seed in seeds}
    after = {key: end for key, (_, end) in measured.items()}
    require_comparable([*before.values(), *after.values()])
    pooled: dict[str, Measured] = {_BASELINE: _pooled(_BASELINE, list(before.values()))}
    pooled |= {arm: _pooled(arm, [after[arm, seed] for seed in seeds]) for arm in arms}

    def gain(arm: Arm, seed: int) -> float:
        return compare(before[seed], after[arm, seed]).change.difference.mean

    def tokens(arm: Arm) -> int:
        return sum(_tokens(RunDir(folder.arm_path(arm, seed)), most) for seed in seeds)

    return [
        arm_result(arm, pooled, {seed: gain(arm, seed) for seed in seeds}, tokens(arm))
        for arm in arms
    ]


def _tokens(run: RunDir, most: int) -> int:
    """Return how many tokens of training answers a run has up to the cycle ``most``."""
    records = (record for record in run.read_statistics() if record["cycle"] <= most)
    return sum(record.get("tokens_generated", 0) for record in records)


def _pooled(name: str, parts: Sequence[Measured]) -> Measured:
    """Return the answers of several runs as if one had given them all."""
    counts = {problem: sum(part.counts[problem] for part in parts) for problem in parts[0].counts}
    return replace(parts[0], name=name, samples=sum(part.samples for part in parts), counts=counts)
