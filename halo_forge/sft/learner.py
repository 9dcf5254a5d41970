"""The one place where an optimiser steps: TRL's SFTTrainer on the tokens that were sampled.

Token ids and labels go in as they are: no template, no truncation, no end token added. The loss
is the mean negative log-likelihood of the completion's tokens, its end token included; prompt
tokens carry none (RAFT's fine-tuning step, Dong et al. 2023, arXiv:2304.06767, section 3).
"""

from __future__ import annotations

import random
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PrinterCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from trl.trainer.sft_config import SFTConfig

from halo_forge.config.sections import LoraSettings
from halo_forge.core.errors import StoreFault
from halo_forge.core.types import TrainingExample
from halo_forge.models import load
from halo_forge.models.adapter import Adapter, open_adapter
from halo_forge.models.checkpoint import save_checkpoint
from halo_forge.models.kept import BaseKeeper
from halo_forge.models.load import Model
from halo_forge.models.lora import add_lora, check_targets
from halo_forge.models.profile import bound_memory
from halo_forge.models.refs import base_ref
from halo_forge.models.structure import attention
from halo_forge.models.weights import is_adapter
from halo_forge.sft.base import FitReport, FitRequest
from halo_forge.sft.batches import (
    PICTURES,
    heaviest_batch,
    optimizer_steps,
    signals_of,
    to_columns,
    warmup_steps,
)
from halo_forge.sft.completion_trainer import CompletionTrainer
from halo_forge.sft.course import Course, is_over
from halo_forge.sft.memory import choose_checkpointing
from halo_forge.sft.packing import choose_packing, without_packing
from halo_forge.sft.pictured import PicturedCollator
from halo_forge.sft.resumable_trainer import best_step
from halo_forge.sft.weighted_trainer import WeightedTrainer
from halo_forge.store.run_dir import CARD
from halo_forge.tracking.base import Observer
from halo_forge.utils.processes import place

__all__ = ["TrlLearner", "load_trainable"]


class TrlLearner:
    """LoRA or full-weight fine-tuning on kept answers, on any device torch knows.

    A policy that is an adapter is trained on as it is; without LoRA it is folded into the weights
    first. Started by `accelerate launch`, each process trains on its part of every batch.

    Args:
        keeper: Lends the base model below adapters.
    """

    def __init__(self, keeper: BaseKeeper | None = None) -> None:
        self._keeper = keeper

    def check(self, policy: str, lora: LoraSettings, *, trust_remote_code: bool) -> None:
        """Find a wrong layer name early; see `halo_forge.sft.base.Learner`."""
        if lora.enabled and not is_adapter(load.resolve(policy)):
            check_targets(load.load_skeleton(policy, trust_remote_code=trust_remote_code), lora)

    def fit(
        self, examples: Sequence[TrainingExample], request: FitRequest, observer: Observer
    ) -> FitReport:
        """Train on ``examples`` and write the checkpoint; see `halo_forge.sft.base.Learner`."""
        started = time.monotonic()
        device = _own_device(request)
        adapter = open_adapter(request.policy, trust_remote_code=request.trust_remote_code)
        model = load_trainable(request, device, self._keeper)
        with (
            tempfile.TemporaryDirectory() as scratch,
            _own_randomness(device),
            warnings.catch_warnings(),
        ):
            # the libraries announce renamed arguments that they pass to each other
            warnings.simplefilter("ignore", FutureWarning)
            layout = _layout(model, examples, request, device)
            observer.message(f"Training: {layout.words}")
            arguments = _arguments(request, device, len(examples), scratch, layout)
            trainer = _trained(model, adapter, examples, request, arguments, observer)
        report = _report(trainer, examples, request)
        if trainer.args.should_save:
            files = {} if request.card is None else {CARD: request.card(report)}
            save_checkpoint(model, adapter, request.output, request.policy, request.meta, files)
        trainer.accelerator.end_training()
        return replace(report, seconds=time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How answers lie in a forward pass, whether its activations are kept, and why."""

    packed: bool
    checkpointing: bool
    words: str


def _own_device(request: FitRequest) -> torch.device:
    """Return the device of this process: on a machine with several cards, each has its own."""
    device = load.pick_device(request.hardware.device)
    here = place()
    if here.count > 1 and device.type == "cuda" and ":" not in request.hardware.device:
        device = load.pick_device(f"cuda:{here.local}")
    bound_memory(device, request.hardware)
    return device


def load_trainable(
    request: FitRequest, device: torch.device, keeper: BaseKeeper | None = None
) -> Model:
    """Load the policy with the right weights trainable.

    Frozen weights below an adapter may be bfloat16, or of 4 bits; weights that are trained stay
    float32, or updates smaller than a rounding step would be lost.

    Raises:
        UserError: If the policy lacks the layers to adapt, or 4 bits cannot be had.
        ModelFault: If it cannot be loaded.
    """
    narrow = load.pick_dtype(request.hardware.bf16, device)
    adapters = request.lora.enabled
    model = load.load_model(
        request.policy,
        dtype=narrow if adapters else torch.float32,
        device=device,
        attn=request.hardware.attn_implementation,
        trust_remote_code=request.trust_remote_code,
        trainable=True,
        merge=not adapters,
        quantized=request.qlora,
        keeper=keeper,
    )
    if adapters and not isinstance(model, PeftModel):
        model = add_lora(model, request.lora, seed=request.seed)
    return model


def _layout(
    model: Model,
    examples: Sequence[TrainingExample],
    request: FitRequest,
    device: torch.device,
) -> _Layout:
    training, dtype = request.training, load.pick_dtype(request.hardware.bf16, device)
    # an answer by itself has no padding to be spared
    setting = training.packing if training.batch_size > 1 else "off"
    scored = request.validation.examples if request.validation else ()
    packing = (
        without_packing(setting)
        if any(example.images for example in (*examples, *scored))
        else choose_packing(model, setting, attention(model))
    )
    lengths = heaviest_batch(
        [len(example.input_ids) for example in (*examples, *scored)],
        training.batch_size,
        padded=not packing.packed,
    )
    checkpointing = choose_checkpointing(
        model, request.hardware.gradient_checkpointing, lengths, dtype
    )
    words = f"{packing.words}; {checkpointing.words}; {str(dtype).removeprefix('torch.')}"
    return _Layout(packing.packed, checkpointing.on, words)


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Give the caller its random states back: the trainer seeds the global ones."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def _arguments(
    request: FitRequest, device: torch.device, examples: int, scratch: str, layout: _Layout
) -> SFTConfig:
    training = request.training
    steps = optimizer_steps(examples, training, place().count)
    return SFTConfig(
        output_dir=scratch,
        use_cpu=device.type == "cpu",
        bf16=load.pick_dtype(request.hardware.bf16, device) is torch.bfloat16,
        gradient_checkpointing=layout.checkpointing,
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size,
        per_device_eval_batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        learning_rate=request.learning_rate,
        lr_scheduler_type=training.lr_scheduler,
        warmup_steps=warmup_steps(steps, training.warmup_ratio),
        max_grad_norm=training.max_grad_norm,
        dataloader_num_workers=training.dataloader_num_workers,
        dataloader_pin_memory=training.dataloader_pin_memory,
        padding_free=layout.packed,
        train_sampling_strategy="random" if layout.packed else "group_by_length",
        max_length=None,
        remove_unused_columns=False,
        seed=request.seed % 2**32,
        save_strategy="no",
        eval_strategy="epoch" if request.validation else "no",
        logging_steps=1,
        disable_tqdm=True,
        report_to="none",
        ddp_find_unused_parameters=False,
    )


def _trained(
    model: Model,
    adapter: Adapter,
    examples: Sequence[TrainingExample],
    request: FitRequest,
    arguments: SFTConfig,
    observer: Observer,
) -> CompletionTrainer:
    """Do the steps that are owed, and leave the weights that are to be kept in ``model``."""
    waypoints, validation = request.waypoints, request.validation
    patience = validation.patience if validation else None
    state = _state_at(waypoints.last if waypoints else None)
    total = optimizer_steps(len(examples), request.training, place().count)
    with observer.stage("train", total, done=state.global_step, unit="steps") as stage:
        course = Course(
            observer,
            stage,
            request.trackers,
            save_steps=request.save_steps if waypoints else None,
            patience=patience,
        )
        train = Dataset.from_dict(_columns(examples, request))
        held_out = Dataset.from_dict(_columns(validation.examples, request)) if validation else None
        shown = PICTURES in {*train.column_names, *(held_out.column_names if held_out else ())}
        trainer = _trainer(
            request,
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=held_out,
            data_collator=PicturedCollator(adapter, request.images) if shown else None,
            processing_class=adapter.tokenizer,
            adapter=adapter,
            callbacks=[course],
            waypoints=waypoints,
            base=base_ref(request.policy),
        )
        trainer.remove_callback(PrinterCallback)
        if state.max_steps and is_over(state, patience):
            trainer.state = state
            trainer.load_weights(state.global_step)
        else:
            last = waypoints.last if waypoints else None
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
    best = best_step(trainer.state.log_history)
    if waypoints and best is not None and best != trainer.state.global_step:
        observer.message(f"Keeping the weights after step {best}, of the lowest validation loss")
        trainer.load_weights(best)
    return trainer


def _trainer(request: FitRequest, **kwargs: Any) -> CompletionTrainer:
    """Return the trainer of the request's objective."""
    if request.objective is None:
        return CompletionTrainer(**kwargs)
    return WeightedTrainer(objective=request.objective, **kwargs)


def _columns(examples: Sequence[TrainingExample], request: FitRequest) -> dict[str, Any]:
    signals = {} if request.objective is None else signals_of(examples)
    return {**to_columns(examples), **signals}


def _state_at(waypoint: Path | None) -> TrainerState:
    """Return what the trainer knew there; an empty state when there is none.

    Raises:
        StoreFault: If its file is damaged.
    """
    if waypoint is None:
        return TrainerState()
    try:
        state: TrainerState = TrainerState.load_from_json(str(waypoint / TRAINER_STATE_NAME))
    except (OSError, ValueError, TypeError) as error:
        raise StoreFault(
            f"{waypoint}: not a state to go on from ({error}). Delete this folder: training then "
            "goes on from the one before it, or begins anew."
        ) from error
    return state


def _report(
    trainer: CompletionTrainer,
    examples: Sequence[TrainingExample],
    request: FitRequest,
) -> FitReport:
    history = trainer.state.log_history
    scored = [(int(entry["step"]), entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    kept = best_step(history) if request.waypoints else None
    epochs = trainer.state.global_step // trainer.steps_an_epoch  # fewer after an early stop
    return FitReport(
        steps=trainer.state.global_step,
        loss=_mean(trainer, "loss"),
        grad_norm=_mean(trainer, "grad_norm"),
        entropy=_mean(trainer, "entropy"),
        tokens=sum(e.loss_tokens for e in examples) * epochs,
        seconds=0.0,
        losses=tuple(entry["loss"] for entry in history if "loss" in entry),
        eval_losses=tuple(scored),
        best_step=trainer.state.global_step if kept is None else kept,
        figures=trainer.figures(),
    )


def _mean(trainer: CompletionTrainer, name: str) -> float:
    values = [entry[name] for entry in trainer.state.log_history if name in entry]
    return float(sum(values) / len(values)) if values else float("nan")
