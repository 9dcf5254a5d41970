"""Settings of a RAFT run (`halo-forge raft train`)."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from halo_forge.config.algorithm import AlgorithmSettings
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
from halo_forge.config.steering import (
    Control,
    CurriculumSettings,
    ShapingSettings,
    StoppingSettings,
)

__all__ = [
    "AdaptiveSettings",
    "EvaluationSettings",
    "LoopSettings",
    "RaftConfig",
    "TrainingSettings",
]


class LoopSettings(AlgorithmSettings):
    """The generate-verify-select-train loop."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset({"num_cycles"})

    num_cycles: int = Field(3, ge=0)
    """Cycles of generate, verify, select, train; 0 only judges the held-out prompts."""

    samples_per_prompt: PositiveInt = 8
    """Answers sampled for each prompt in a cycle."""

    reward_threshold: float = Field(0.5, ge=0, le=1)
    """Lowest reward that can be trained on."""

    keep_top_percent: Fraction = 0.5
    """Share of a prompt's answers at or above the threshold that is kept, at least one;
    `reinforce-rej` takes all."""

    min_samples: PositiveInt = 1
    """Fewest kept answers a cycle trains on; with fewer the run stops and says so."""

    control: Control = "none"
    """Run an experiment's control instead, with the same prompts, seeds and samples. `unverified`:
    answers are chosen without their rewards; `shuffled`: by rewards dealt out at random;
    `compile-only`: rewards end at that for compiling."""


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

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset({"hidden_gap_alarm"})

    samples_per_prompt: PositiveInt = 4
    """Answers sampled for each held-out prompt."""

    hidden_tests: bool = True
    """Score the prompts' hidden tests as well, of training and held-out answers; they never
    reward."""

    hidden_gap_alarm: float = Field(0.05, ge=0, le=1)
    """Warn when the rate at which answers pass is surely higher, by more than this, than the rate
    at which they pass their hidden tests too."""


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

    replay: str | None = None
    """Run whose judged answers are trained on; none are generated but to held-out prompts."""

    seed: int = Field(0, ge=0)
    """Seed of everything random."""

    decontaminate: DecontaminationSettings = DecontaminationSettings()
    raft: LoopSettings = LoopSettings()
    adaptive: AdaptiveSettings = AdaptiveSettings()
    curriculum: CurriculumSettings = CurriculumSettings()
    shaping: ShapingSettings = ShapingSettings()
    stopping: StoppingSettings = StoppingSettings()
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
        {"eval_prompts", "output_dir", "prompts", "replay", "sft_checkpoint", "report_to"}
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

    @model_validator(mode="after")
    def _algorithm_has_what_it_needs(self) -> Self:
        """Refuse settings under which an algorithm would not be what its name says."""
        loop, said = self.raft, self.generation
        truncated = said.top_p < 1 or said.top_k or said.min_p or said.repetition_penalty != 1
        if loop.algorithm != "raft" and (truncated or said.temperature == 0):
            raise ValueError(
                f"raft.algorithm {loop.algorithm} compares each token with the distribution it was "
                "drawn from, which has to be the model's at a temperature above 0: leave "
                "generation.top_p, top_k, min_p and repetition_penalty at 1, 0, 0 and 1"
            )
        if loop.algorithm != "raft" and loop.restart:
            raise ValueError(
                f"raft.restart is for raft.algorithm raft: {loop.algorithm} compares the model in "
                "training with the one that answered, which the start model is not"
            )
        if loop.kl_coef and not self.lora.enabled:
            raise ValueError(
                "raft.kl_coef needs adapters (lora.enabled, no --no-lora): the start model is the "
                "model with its adapter off, and there is no second one in memory"
            )
        return self

    @model_validator(mode="after")
    def _history_is_given(self) -> Self:
        """Refuse a curriculum by earlier pass rates without any: it would be another one."""
        if self.curriculum.kind == "historical" and not self.curriculum.history:
            raise ValueError(
                "curriculum.kind = historical orders the prompts by earlier runs' pass rates: name "
                "these runs, --set curriculum.history=[models/raft], or take progressive"
            )
        return self

    @property
    def reading_verdicts(self) -> list[str]:
        """Settings by which verdicts decide more than which answers are trained on."""
        reading = {
            "generation.sampling = adaptive": self.generation.sampling == "adaptive",
            "curriculum.kind = adaptive": self.curriculum.kind == "adaptive",
            "curriculum.retire_at": self.curriculum.retire_at is not None,
            "curriculum.retry_after": self.curriculum.retry_after > 0,
            "shaping.kind = adaptive": self.shaping.kind == "adaptive",
            "raft.prompt_weights = inverse-pass-rate": self.raft.prompt_weights != "uniform",
        }
        return [name for name, is_set in reading.items() if is_set]

    @model_validator(mode="after")
    def _controls_are_told_nothing(self) -> Self:
        """Refuse a control beside rules that read verdicts, and one that would keep nothing."""
        control = self.raft.control
        if control == "none":
            return self
        if self.raft.algorithm != "raft":
            raise ValueError(
                f"raft.control = {control} is for raft.algorithm raft: {self.raft.algorithm} has "
                "no answers without their verdicts"
            )
        if self.reading_verdicts:
            raise ValueError(
                f"raft.control = {control}: {', '.join(self.reading_verdicts)} would tell it the "
                "verdicts that it must do without; leave that out in all runs that are compared"
            )
        if control == "compile-only" and self.raft.reward_threshold > 0.5:
            raise ValueError(
                "raft.control = compile-only gives no reward above 0.5, which is below "
                f"raft.reward_threshold = {self.raft.reward_threshold:g}; nothing would be kept"
            )
        return self
