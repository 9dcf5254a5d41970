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
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import (
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl.trainer.sft_config import SFTConfig

from halo_forge.config.sections import LoraSettings
from halo_forge.core.types import TrainingExample
from halo_forge.models import load
from halo_forge.models.checkpoint import save_checkpoint
from halo_forge.models.kept import BaseKeeper
from halo_forge.models.load import Model
from halo_forge.models.lora import add_lora, check_targets
from halo_forge.models.weights import is_adapter
from halo_forge.sft.base import FitReport, FitRequest
from halo_forge.sft.batches import heaviest_batch, optimizer_steps, to_columns, warmup_steps
from halo_forge.sft.completion_trainer import CompletionTrainer
from halo_forge.sft.memory import choose_checkpointing
from halo_forge.sft.packing import choose_packing
from halo_forge.tracking.base import Observer, Stage
from halo_forge.utils.typing import override

__all__ = ["TrlLearner"]


class TrlLearner:
    """LoRA or full-weight fine-tuning on kept answers, on any device torch knows.

    A policy that is an adapter is trained on as it is; without LoRA it is folded into the weights
    first.

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
        device = load.pick_device(request.hardware.device)
        tokenizer = load.load_tokenizer(request.policy, trust_remote_code=request.trust_remote_code)
        model = _load_trainable(request, device, self._keeper)
        steps = optimizer_steps(len(examples), request.training)
        with (
            tempfile.TemporaryDirectory() as scratch,
            _own_randomness(device),
            warnings.catch_warnings(),
        ):
            # the libraries announce renamed arguments that they pass to each other
            warnings.simplefilter("ignore", FutureWarning)
            layout = _layout(model, examples, request, device)
            observer.message(f"Training: {layout.words}")
            arguments = _arguments(request, device, steps, scratch, layout)
            with observer.stage("train", steps, unit="steps") as stage:
                trainer = _train(model, tokenizer, examples, arguments, _Progress(stage))
        save_checkpoint(model, tokenizer, request.output, request.policy, request.meta)
        tokens = sum(len(e.input_ids) - e.completion_start for e in examples)
        return FitReport(
            steps=trainer.state.global_step,
            loss=_mean(trainer, "loss"),
            grad_norm=_mean(trainer, "grad_norm"),
            entropy=_mean(trainer, "entropy"),
            tokens=tokens * request.training.epochs,
            seconds=time.monotonic() - started,
        )


@dataclass(frozen=True, slots=True)
class _Layout:
    """How answers lie in a forward pass, whether its activations are kept, and why."""

    packed: bool
    checkpointing: bool
    words: str


class _Progress(TrainerCallback):
    """Tells the observer of each optimiser step."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count a step."""
        self._stage.advance()


def _load_trainable(request: FitRequest, device: torch.device, keeper: BaseKeeper | None) -> Model:
    """Load the policy with the right weights trainable.

    Frozen weights below an adapter may be bfloat16; weights that are trained stay float32, or
    updates smaller than a rounding step would be lost.
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
    packing = choose_packing(model, setting, request.hardware.attn_implementation)
    lengths = heaviest_batch(
        [len(example.input_ids) for example in examples],
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
    request: FitRequest, device: torch.device, steps: int, scratch: str, layout: _Layout
) -> SFTConfig:
    training = request.training
    return SFTConfig(
        output_dir=scratch,
        use_cpu=device.type == "cpu",
        bf16=load.pick_dtype(request.hardware.bf16, device) is torch.bfloat16,
        gradient_checkpointing=layout.checkpointing,
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size,
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
        seed=request.seed % 2**32,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        report_to="none",
    )


def _train(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[TrainingExample],
    arguments: SFTConfig,
    progress: TrainerCallback,
) -> CompletionTrainer:
    trainer = CompletionTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(to_columns(examples)),
        processing_class=tokenizer,
        callbacks=[progress],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer


def _mean(trainer: CompletionTrainer, name: str) -> float:
    values = [entry[name] for entry in trainer.state.log_history if name in entry]
    return float(sum(values) / len(values)) if values else float("nan")
