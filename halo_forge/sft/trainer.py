"""`SFTTrainer`: from settings to records, to tokens, to a fine-tuned model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halo_forge.config.load import dump_yaml
from halo_forge.config.sft import DataSettings, SFTConfig
from halo_forge.core import registry
from halo_forge.core.errors import UserError
from halo_forge.core.identity import derive_seed
from halo_forge.data import public_datasets
from halo_forge.data.conversations import (
    TrainingRecord,
    load_dataset,
    load_training,
    training_digest,
)
from halo_forge.data.decontaminate import decontaminate_training
from halo_forge.data.grouping import split_off
from halo_forge.models import load
from halo_forge.models.adapter import open_adapter
from halo_forge.models.checkpoint import model_digest
from halo_forge.models.profile import prepare
from halo_forge.models.refs import base_ref
from halo_forge.sft.attempt import attempt_facts, log_file, open_trackers
from halo_forge.sft.base import FitReport, FitRequest, Learner, Validation
from halo_forge.sft.batches import optimizer_steps
from halo_forge.sft.card import write_card
from halo_forge.sft.encoding import Encoding, encode
from halo_forge.sft.learner import TrlLearner
from halo_forge.sft.memory import plan_memory
from halo_forge.store.run_dir import RunDir
from halo_forge.store.waypoints import Waypoints
from halo_forge.tracking.base import NullObserver, Observer
from halo_forge.utils.processes import place

__all__ = ["SFTTrainer"]


@dataclass(frozen=True, slots=True)
class _Material:
    """Everything there is to learn from, parted.

    Attributes:
        train: Records to train on.
        validation: Records to watch the training by; may be empty.
        decontamination: What the records were compared with, and which held a benchmark's task;
            empty when nothing was compared.
    """

    train: Sequence[TrainingRecord]
    validation: Sequence[TrainingRecord]
    decontamination: Mapping[str, Any]


class SFTTrainer:
    """Fine-tunes a model on answers that are known to be good.

    Args:
        config: Everything the result depends on.
        observer: Shows the progress; silent when absent.
        fork: Start a new run in this directory from what the run in ``config.output_dir`` has, its
            result or its last state, with the settings of ``config``.
        resume: Refuse to begin a run; only go on with one.
    """

    def __init__(
        self,
        config: SFTConfig,
        *,
        observer: Observer | None = None,
        fork: Path | None = None,
        resume: bool = False,
    ) -> None:
        self._config = _forked(config, fork) if fork is not None else config
        self._observer: Observer = observer or NullObserver()
        self._resume = resume
        self._learner: Learner = TrlLearner()

    def plan(self) -> dict[str, Any]:
        """Return what a run would do, with all figures that are known before it starts.

        Raises:
            UserError: If an input is wrong, or the model cannot fit.
        """
        config = self._config
        material = self._material()
        train, validation = self._encoded(material)
        memory = self._check_parts()
        run = RunDir(Path(config.output_dir))
        steps = optimizer_steps(len(train.examples), config.training, place().count)
        complete = run.final_model_path.is_dir()
        return {
            "run": config.output_dir,
            "complete": complete,
            "state": steps if complete else _last_step(run),
            "steps": steps,
            "train": train.counts(),
            "validation": validation.counts(),
            "memory": memory,
        }

    def train(self) -> dict[str, Any]:
        """Do what is owed of the run and return its figures.

        Raises:
            UserError: If an input is wrong, or the run directory belongs to other settings.
            Fault: If the machine or the disk lets us down; the same command goes on later.
        """
        config, run = self._config, RunDir(Path(self._config.output_dir))
        prepare(config.hardware)
        if self._resume and run.read_info() is None:
            raise UserError(f"--resume: there is no run in {run.path} to go on with")
        for line in config.advice:
            self._observer.message(line)
        material = self._material()
        memory = self._check_parts()
        with ExitStack() as stack:
            if place().speaks:
                guarded = self._guarded(material)
                stack.enter_context(run.lock())
                facts = attempt_facts(run, config.hardware)
                if material.decontamination:
                    facts["decontamination"] = material.decontamination
                run.claim(guarded, facts, dump_yaml(config))
                stack.enter_context(log_file(run))
            if run.final_model_path.is_dir():
                self._observer.message(f"{run.final_model_path} is complete, nothing is owed")
            else:
                self._observer.message(f"Memory: {memory}")
                self._fit(run, material, stack)
            if place().speaks:
                Waypoints(run.waypoints_path).clear()
        return run.read_sft_result() or {}

    def _fit(self, run: RunDir, material: _Material, stack: ExitStack) -> None:
        config = self._config
        train, validation = self._encoded(material)
        self._tell(train, validation)
        data: dict[str, dict[str, Any]] = {
            "train": {**train.counts(), "sha256": training_digest(material.train)},
            "validation": {**validation.counts()},
        }
        watched = Validation(validation.examples, config.training.early_stopping_patience)

        def card(report: FitReport) -> str:
            # Before the model appears: a run is complete when its model is there.
            run.write_sft_result(_figures(run, data, report))
            return write_card(config, data, report)

        request = FitRequest(
            policy=config.model.name,
            output=run.final_model_path,
            learning_rate=config.training.learning_rate,
            seed=derive_seed(config.seed, "sft"),
            training=config.training,
            lora=config.lora,
            hardware=config.hardware,
            trust_remote_code=config.model.trust_remote_code,
            meta={"data": data},
            card=card,
            validation=watched if validation.examples else None,
            waypoints=Waypoints(run.waypoints_path),
            save_steps=config.training.save_steps,
            qlora=config.qlora if config.qlora.enabled else None,
            images=config.images,
            trackers=(
                stack.enter_context(open_trackers(config.report_to, run)) if place().speaks else ()
            ),
        )
        report = self._learner.fit(train.examples, request, self._observer)
        if place().speaks:
            run.write_sft_result(_figures(run, data, report))

    def _material(self) -> _Material:
        """Read the records without benchmarks' tasks, and part them, near-duplicates together."""
        config = self._config.data
        cleaned = decontaminate_training(_read(config), self._config.decontaminate)
        records, facts = cleaned.kept, cleaned.facts
        if config.dataset is not None and (made := _made_for_tests(config.dataset)):
            self._observer.message(made)
        if config.validation_file is not None:
            watched = load_training(config.validation_file, system=config.system_prompt)
            _refuse_shared(config.validation_file, records, watched)
            return _Material(records, watched, facts)
        seed = derive_seed(self._config.seed, "validation")
        texts = [record.related for record in records]
        rest, over = split_off(texts, config.validation_split, seed)
        if config.validation_split and not over:
            self._observer.message(
                "No validation loss: the records are too few, or all nearly the same, to hold "
                "some out that the others do not give away"
            )
        return _Material([records[at] for at in rest], [records[at] for at in over], facts)

    def _encoded(self, material: _Material) -> tuple[Encoding, Encoding]:
        config = self._config
        adapter = open_adapter(config.model.name, trust_remote_code=config.model.trust_remote_code)
        parts = material.train, material.validation
        with self._observer.stage("encode", sum(map(len, parts)), unit="records") as stage:
            train, validation = (
                encode(part, adapter, config.data, stage, config.images) for part in parts
            )
        if not train.examples:
            counts = ", ".join(f"{key} {value}" for key, value in train.counts().items())
            raise UserError(
                f"{config.data.train_file or config.data.dataset}: no record can be trained on "
                f"({counts}). Where they are too long for data.max_seq_length = "
                f"{config.data.max_seq_length}, raise it, or set data.long_records to cut."
            )
        return train, validation

    def _check_parts(self) -> str:
        """Find a wrong name, or a model that cannot fit, before there is a run directory."""
        config = self._config
        trust = config.model.trust_remote_code
        device = load.pick_device(config.hardware.device)
        for name in config.report_to:
            registry.load("trackers", name)
        if config.qlora.enabled:
            from halo_forge.models.quantize import four_bits

            four_bits(config.qlora)
        self._learner.check(config.model.name, config.lora, trust_remote_code=trust)
        skeleton = load.load_skeleton(base_ref(config.model.name), trust_remote_code=trust)
        memory = plan_memory(skeleton, config, device)
        memory.check()
        return memory.words

    def _guarded(self, material: _Material) -> dict[str, Any]:
        """Return everything a result depends on, by dotted key."""
        return {
            **self._config.guarded(),
            "model.content": model_digest(self._config.model.name),
            "data.content": training_digest(material.train),
            "data.validation_content": training_digest(material.validation),
            "processes": place().count,
        }

    def _tell(self, train: Encoding, validation: Encoding) -> None:
        told = f"Training on {len(train.examples)} examples, {train.loss_tokens} tokens with loss"
        if validation.examples:
            told += f"; {len(validation.examples)} held out"
        self._observer.message(told)
        limit = self._config.data.max_seq_length
        for count, fate in (
            (train.dropped + validation.dropped, f"are longer than {limit} tokens: left out"),
            (train.cut + validation.cut, f"are longer than {limit} tokens: cut at their end"),
            (train.forged + validation.forged, "hold the chat template's own marks: left out"),
            (train.empty + validation.empty, "have nothing to learn from: left out"),
        ):
            if count:
                self._observer.message(f"{count} records {fate}")


def _read(settings: DataSettings) -> list[TrainingRecord]:
    how: dict[str, Any] = {"system": settings.system_prompt, "limit": settings.max_samples}
    if settings.dataset is not None:
        return load_dataset(settings.dataset, source=settings.source, **how)
    if settings.train_file is not None:
        return load_training(settings.train_file, **how)
    raise UserError(
        "nothing to learn from: name a training file with --data FILE (data.train_file), a public "
        "data set with --dataset NAME, or --data builtin:cpp/train to try"
    )


def _made_for_tests(name: str) -> str | None:
    """Say so when a data set is what models are measured on."""
    if name not in public_datasets.names():
        return None
    split = public_datasets.get(name).splits()[0]
    if split != "test":
        return None
    return f"{name} is a test set: after training on it, scores on it show memory, not skill"


def _figures(run: RunDir, data: dict[str, Any], report: FitReport) -> dict[str, Any]:
    return {
        "final_model": str(run.final_model_path),
        "steps": report.steps,
        "best_step": report.best_step,
        "loss": report.loss,
        "losses": report.losses,
        "eval_losses": [{"step": step, "loss": loss} for step, loss in report.eval_losses],
        "entropy": report.entropy,
        "grad_norm": report.grad_norm,
        "data": data,
        "seconds": report.seconds or None,
    }


def _last_step(run: RunDir) -> int:
    steps = Waypoints(run.waypoints_path).steps()
    return steps[-1] if steps else 0


def _refuse_shared(
    source: str, train: Sequence[TrainingRecord], watched: Sequence[TrainingRecord]
) -> None:
    """Refuse validation records that are trained on: their loss would show memory."""
    known = {record.asked for record in train}
    shared = [record.line for record in watched if record.asked in known]
    if shared:
        raise UserError(
            f"{source}:{shared[0]}: asks what the training file asks too, as {len(shared)} of its "
            "records do. A loss measured on them would show memory, not learning."
        )


def _forked(config: SFTConfig, fork: Path) -> SFTConfig:
    """Return the settings of a new run that starts where the old one is."""
    old = RunDir(Path(config.output_dir))
    if old.read_info() is None:
        raise UserError(f"--fork: {old.path} is not a run directory to fork from")
    if fork.resolve() == old.path.resolve():
        raise UserError(f"--fork: {fork} is the run itself; choose another directory")
    start = old.final_model_path if old.final_model_path.is_dir() else None
    start = start or Waypoints(old.waypoints_path).last
    model = config.model.model_copy(update={"name": str(start)}) if start else config.model
    return config.model_copy(update={"output_dir": str(fork), "model": model})
