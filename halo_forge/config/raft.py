"""Settings of a RAFT run (`halo-forge raft train`)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from halo_forge.config.base import Fraction, NonNegative, Positive, PositiveInt, Section
from halo_forge.config.data import DecontaminationSettings
from halo_forge.config.fit import FitSettings
from halo_forge.config.sections import (
    GenerationSettings,
    HardwareSettings,
    ImageSettings,
    LoraSettings,
    ModelSettings,
    VerifierSettings,
)

__all__ = [
    "AdaptiveSettings",
    "EvaluationSettings",
    "LoopSettings",
    "RaftConfig",
    "TrainingSettings",
]


class LoopSettings(Section):
    """The generate-verify-select-train loop."""

    num_cycles: PositiveInt = 3
    """Cycles of generate, verify, select, train."""

    samples_per_prompt: PositiveInt = 8
    """Answers sampled for each prompt in a cycle."""

    reward_threshold: float = Field(0.5, ge=0, le=1)
    """Lowest reward that can be trained on."""

    keep_top_percent: Fraction = 0.5
    """Share of a prompt's answers at or above the threshold that is kept, at least one."""

    min_samples: PositiveInt = 1
    """Fewest kept answers a cycle trains on; with fewer the run stops and says so."""


class AdaptiveSettings(Section):
    """When a prompt has had enough answers (`generation.sampling: adaptive`).

    `raft.samples_per_prompt` stays the most that a prompt gets.
    """

    wave: PositiveInt = 4
    """Answers sampled for a prompt before its verdicts are looked at again."""

    enough: PositiveInt = 4
    """A prompt ends with so many accepted answers: not cut, and at `reward_threshold` or above."""

    solved_rate: float = Field(0.9, gt=0, lt=1)
    """A prompt ends when the share of accepted answers is very likely above this."""

    hopeless_rate: float = Field(0.1, gt=0, lt=1)
    """A prompt ends when the share of accepted answers is very likely below this."""

    confidence: float = Field(0.9, ge=0.5, lt=1)
    """How likely is very likely."""


class TrainingSettings(FitSettings):
    """The gradient steps of one cycle."""

    learning_rate: Positive = 5e-5
    """Learning rate of the first cycle."""

    lr_decay: Fraction = 0.85
    """Cycle n trains at learning_rate x lr_decay^(n-1)."""

    min_lr: NonNegative = 1e-6
    """Floor of the decayed learning rate."""


class EvaluationSettings(Section):
    """The held-out prompts, judged before the first cycle and after every one."""

    samples_per_prompt: PositiveInt = 4
    """Answers sampled for each held-out prompt."""

    hidden_tests: bool = True
    """Score the prompts' hidden tests as well; they never reward."""


class RaftConfig(Section):
    """Everything a RAFT run depends on."""

    model: ModelSettings = ModelSettings()
    sft_checkpoint: str | None = None
    """Checkpoint to start from instead of `model.name` (an adapter or full weights)."""

    output_dir: str = "models/raft"
    """Run directory."""

    prompts: str = "builtin:cpp/train"
    """Training prompts: a JSONL file, or `builtin:LANGUAGE/SPLIT`."""

    eval_prompts: str | None = None
    """Held-out prompts, never trained on; without them no held-out rate is measured."""

    system_prompt: str | None = None
    """System message for every prompt that has none."""

    seed: int = Field(0, ge=0)
    """Seed of everything random."""

    decontaminate: DecontaminationSettings = DecontaminationSettings()
    raft: LoopSettings = LoopSettings()
    adaptive: AdaptiveSettings = AdaptiveSettings()
    generation: GenerationSettings = GenerationSettings()
    training: TrainingSettings = TrainingSettings()
    lora: LoraSettings = LoraSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    hardware: HardwareSettings = HardwareSettings()
    images: ImageSettings = ImageSettings()
    verifier: VerifierSettings = VerifierSettings()

    report_to: tuple[str, ...] = ("tensorboard",)
    """Trackers beside `metrics.jsonl`, which is always written."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset(
        {
            *(f"decontaminate.{name}" for name in DecontaminationSettings.model_fields),
            "eval_prompts",
            "generation.server.api_key_env",
            "generation.server.concurrency",
            "generation.server.retries",
            "generation.server.timeout",
            "hardware.kv_cache_gb",
            "model.name",
            "output_dir",
            "prompts",
            "raft.num_cycles",
            "sft_checkpoint",
            "report_to",
            "verifier.host",
            "verifier.max_workers",
            "verifier.niceness",
            "verifier.require_sandbox",
            "verifier.ssh_key",
            "verifier.user",
            "verifier.verdict_cache",
            "training.dataloader_num_workers",
            "training.dataloader_pin_memory",
        }
    )
    """Settings that may change between attempts: they cannot change a result. Files and models are
    compared by content, not by name."""

    TWINS: ClassVar[dict[str, str]] = {
        **{name: f"raft.{name}" for name in LoopSettings.model_fields},
        "max_new_tokens": "generation.max_new_tokens",
        "temperature": "generation.temperature",
        "learning_rate": "training.learning_rate",
        "lr_decay": "training.lr_decay",
        "min_lr": "training.min_lr",
        "base_model": "model.name",
    }
    """Top-level spellings that older files use, and the key each stands for."""
