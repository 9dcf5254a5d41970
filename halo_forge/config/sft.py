"""Settings of supervised fine-tuning (`halo-forge sft train`)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from halo_forge.config.base import Positive, PositiveInt, Section
from halo_forge.config.data import DecontaminationSettings
from halo_forge.config.fit import FitSettings
from halo_forge.config.sections import (
    HardwareSettings,
    ImageSettings,
    LoraSettings,
    ModelSettings,
)

__all__ = ["DataSettings", "QloraSettings", "SFTConfig", "SftTrainingSettings"]

_QLORA_ADVICE = (
    "qlora: the frozen weights are kept in 4 bits, which is slower and less exact than LoRA on "
    "bfloat16; on unified memory it is seldom worth it. Without it: qlora.enabled: false."
)


class DataSettings(Section):
    """What is learned from."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset(
        {"dataset", "max_samples", "source", "train_file", "validation_file"}
    )

    train_file: str | None = None
    """Training file (JSONL), or the solutions of built-in tasks (`builtin:LANGUAGE/SPLIT`)."""

    dataset: str | None = None
    """Public data set to learn from instead (`halo-forge sft datasets`), or an id on the hub."""

    source: str | None = None
    """Local folder that holds the data set's files as the hub has them, or one file."""

    validation_file: str | None = None
    """File for the validation loss, instead of a part of the training file."""

    validation_split: float = Field(0.05, ge=0, lt=1)
    """Share of the records held out for the validation loss; near-duplicates stay together."""

    max_seq_length: PositiveInt = 2048
    """Longest record in tokens."""

    long_records: Literal["drop", "cut"] = "drop"
    """What becomes of a longer one: left out, or cut at its end; either is counted and said."""

    train_on: Literal["answers", "everything"] = "answers"
    """Which tokens carry loss: those of the assistant's turns, or all."""

    system_prompt: str | None = None
    """System message for every record that has none."""

    max_samples: PositiveInt | None = None
    """Only the first so many records."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        """Refuse two things to learn from at once."""
        if self.train_file is not None and self.dataset is not None:
            raise ValueError(
                f"data.train_file (--data) {self.train_file} and data.dataset (--dataset) "
                f"{self.dataset} both say what to learn from; keep one"
            )
        return self


class QloraSettings(Section):
    """Adapters over 4-bit weights (Dettmers et al. 2023, arXiv:2305.14314), by bitsandbytes."""

    enabled: bool = False
    """Keep the frozen weights in 4 bits."""

    load_in_4bit: Literal[True] = True
    """The only width there is."""

    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    """Kind of 4-bit number."""

    bnb_4bit_use_double_quant: bool = True
    """Quantise the scales too."""

    bnb_4bit_compute_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Type that matrix products are computed in."""


class SftTrainingSettings(FitSettings):
    """The gradient steps."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset(FitSettings.NOT_IN_DIGEST | {"save_steps"})

    epochs: PositiveInt = 3
    """Passes over the training records."""

    learning_rate: Positive = 2e-4
    """Peak learning rate."""

    early_stopping_patience: PositiveInt | None = None
    """Stop after so many epochs without a lower validation loss; never when absent."""

    save_steps: PositiveInt = 100
    """Optimiser steps between two checkpoints to go on from; the end of an epoch has one too."""


class SFTConfig(Section):
    """Everything a fine-tuned model depends on."""

    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    decontaminate: DecontaminationSettings = DecontaminationSettings()
    output_dir: str = "models/sft"
    """Run directory; the result is `final_model` in it."""

    seed: int = Field(0, ge=0)
    """Seed of everything random."""

    training: SftTrainingSettings = SftTrainingSettings()
    lora: LoraSettings = LoraSettings()
    qlora: QloraSettings = QloraSettings()
    hardware: HardwareSettings = HardwareSettings()
    images: ImageSettings = ImageSettings()

    report_to: tuple[str, ...] = ("tensorboard",)
    """Trackers beside `metrics.jsonl`, which is always written."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset({"output_dir", "report_to"})
    """Settings that may change between attempts: they cannot change a result. Files and models are
    compared by content, not by name."""

    TWINS: ClassVar[dict[str, str]] = {
        "base_model": "model.name",
        "train_file": "data.train_file",
        "max_seq_length": "data.max_seq_length",
        "learning_rate": "training.learning_rate",
        "model.attn_implementation": "hardware.attn_implementation",
        "training.output_dir": "output_dir",
        "training.num_train_epochs": "training.epochs",
        "training.per_device_train_batch_size": "training.batch_size",
        "training.gradient_checkpointing": "hardware.gradient_checkpointing",
        "training.bf16": "hardware.bf16",
    }
    """Other spellings that files may use, and the key each stands for."""

    @model_validator(mode="after")
    def _quantised_weights_are_frozen(self) -> Self:
        """Refuse to train weights of 4 bits."""
        if self.qlora.enabled and not self.lora.enabled:
            raise ValueError(
                "qlora.enabled trains adapters over 4-bit weights, so lora.enabled (--no-lora) "
                "cannot be false"
            )
        return self

    @model_validator(mode="after")
    def _patience_needs_a_loss(self) -> Self:
        """Refuse to wait for a loss that is never measured."""
        data = self.data
        if self.training.early_stopping_patience and not (
            data.validation_split or data.validation_file
        ):
            raise ValueError(
                "training.early_stopping_patience needs a validation loss: data.validation_split "
                "above 0, or data.validation_file"
            )
        return self

    @property
    def advice(self) -> tuple[str, ...]:
        """What the user should know of these settings before a run."""
        return (_QLORA_ADVICE,) if self.qlora.enabled else ()

    @classmethod
    def from_yaml(cls, path: str | Path) -> SFTConfig:
        """Read a configuration file.

        Raises:
            ConfigError: With every problem of the file, each with its line.
        """
        from halo_forge.config.load import load_config  # which knows all kinds, this one too

        config = load_config(cls, [Path(path)], {}).value
        for line in config.advice:
            warnings.warn(line, stacklevel=2)
        return config
