"""Settings of the whole pass (`halo-forge benchmark full`): measure, train, measure again."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Self

from pydantic import Field, model_validator

from halo_forge.config.base import Positive, PositiveInt, Section
from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.config.raft import LoopSettings, RaftConfig, TrainingSettings
from halo_forge.config.sections import (
    GenerationSettings,
    HardwareSettings,
    LoraSettings,
    ModelSettings,
    VerifierSettings,
)

__all__ = ["MODEL_SUITES", "FullConfig"]

_QWEN = tuple(f"Qwen/Qwen2.5-Coder-{size}" for size in ("0.5B", "1.5B", "3B"))

MODEL_SUITES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"small": _QWEN[:1], "medium": _QWEN[:2], "all": _QWEN}
)
"""Models of each suite, the smallest first."""


class FullConfig(Section):
    """Everything that the figures before and after training depend on."""

    model: ModelSettings = ModelSettings()
    suite: Literal["all", "small", "medium"] | None = None
    """Instead of `model.name`: Qwen2.5-Coder-0.5B (small), also 1.5B (medium), also 3B (all)."""

    output_dir: str = "results/benchmarks"
    """Folder with one folder for each model."""

    prompts: str = "builtin:cpp/train"
    """Prompts to train on: a JSONL file, or `builtin:LANGUAGE/SPLIT`."""

    eval_prompts: str = "builtin:cpp/heldout"
    """Prompts to measure on, never trained on."""

    cycles: PositiveInt = 2
    """Cycles of training between the two measurements."""

    samples_per_prompt: PositiveInt = 8
    """Answers sampled for each training prompt in a cycle."""

    samples: PositiveInt = 8
    """Answers sampled for each held-out prompt, before and after."""

    k: tuple[PositiveInt, ...] = (1, 5)
    """Budgets for pass@k. A k above `samples` is an error when given, left out of the default."""

    sample_seconds: Positive = 2.0
    """Seconds between two readings of the hardware."""

    system_prompt: str | None = None
    """System message for every prompt that has none."""

    seed: int = Field(0, ge=0)
    """Seed of everything random."""

    generation: GenerationSettings = GenerationSettings()
    training: TrainingSettings = TrainingSettings()
    lora: LoraSettings = LoraSettings()
    hardware: HardwareSettings = HardwareSettings()
    verifier: VerifierSettings = VerifierSettings()

    @model_validator(mode="after")
    def _parts_are_valid(self) -> Self:
        """Refuse here what a measurement or the training would refuse later."""
        if self.suite is not None and self.model.name != ModelSettings().name:
            raise ValueError("a suite brings its models: leave out model.name, or the suite")
        too_large = [k for k in self.k if k > self.samples]
        if too_large and "k" in self.model_fields_set:
            raise ValueError(
                f"k = {too_large[0]} needs at least {too_large[0]} samples, got {self.samples}"
            )
        self.measuring(self.model.name, "")
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """References of the models, in order."""
        return (self.model.name,) if self.suite is None else MODEL_SUITES[self.suite]

    def measuring(self, model: str, output: str) -> BenchmarkConfig:
        """Return the settings of a measurement of ``model``."""
        return BenchmarkConfig(
            model=self.model.model_copy(update={"name": model}),
            output_dir=output,
            prompts=self.eval_prompts,
            samples=self.samples,
            k=tuple(k for k in self.k if k <= self.samples),
            system_prompt=self.system_prompt,
            seed=self.seed,
            generation=self.generation,
            hardware=self.hardware,
            verifier=self.verifier,
        )

    def learning(self, model: str, output: str) -> RaftConfig:
        """Return the settings of the training of ``model``; it measures nothing by itself."""
        return RaftConfig(
            model=self.model.model_copy(update={"name": model}),
            output_dir=output,
            prompts=self.prompts,
            system_prompt=self.system_prompt,
            seed=self.seed,
            raft=LoopSettings(num_cycles=self.cycles, samples_per_prompt=self.samples_per_prompt),
            generation=self.generation,
            training=self.training,
            lora=self.lora,
            hardware=self.hardware,
            verifier=self.verifier,
        )
