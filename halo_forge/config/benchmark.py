"""Settings of a benchmark and of a comparison (`halo-forge benchmark`)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from halo_forge.config.base import PositiveInt, Section
from halo_forge.config.sections import (
    GenerationSettings,
    HardwareSettings,
    ImageSettings,
    ModelSettings,
    VerifierSettings,
)

__all__ = ["BenchmarkConfig", "CompareConfig"]


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"a day is written YYYY-MM-DD, got {text!r}") from None


_Date = Annotated[str, AfterValidator(_day)]


class BenchmarkConfig(Section):
    """Everything a benchmark's figures depend on."""

    model: ModelSettings = ModelSettings()

    base_model: str | None = None
    """Base of the adapter that is measured; with another nothing is. An adapter names its own."""

    output_dir: str = "results/benchmark"
    """Folder for the result and every sample."""

    prompts: str = "builtin:cpp/heldout"
    """Prompts: a JSONL file, or `builtin:LANGUAGE/SPLIT`."""

    benchmark: (
        Literal[
            "cpp",
            "humaneval",
            "humaneval_plus",
            "livecodebench",
            "mbpp",
            "mbpp_plus",
            "multipl-e-cpp",
            "multipl-e-cs",
            "multipl-e-go",
            "multipl-e-rs",
            "python",
        ]
        | None
    ) = None
    """A benchmark by name instead of `prompts`; it brings its problems and its verifier."""

    source: str | None = None
    """Local folder or file with the benchmark's data set, instead of the hub."""

    dataset_config: str | None = None
    """Configuration of the benchmark's data set, such as `sanitized` of mbpp."""

    revision: str | None = None
    """Branch, tag or commit of the benchmark's data set on the hub."""

    date_from: _Date | None = None
    """Only problems published on this day (YYYY-MM-DD) or later; for benchmarks with dates."""

    date_to: _Date | None = None
    """Only problems published on this day or earlier."""

    max_prompts: PositiveInt | None = None
    """Only the first so many prompts."""

    samples: PositiveInt = 10
    """Answers sampled for each prompt; 1 at temperature 0 unless given."""

    k: tuple[PositiveInt, ...] = (1, 5, 10)
    """Budgets for pass@k. A k above `samples` is an error when given, left out of the default."""

    system_prompt: str | None = None
    """System message for every prompt that has none."""

    seed: int = Field(0, ge=0)
    """Seed of everything random."""

    generation: GenerationSettings = GenerationSettings()
    hardware: HardwareSettings = HardwareSettings()
    images: ImageSettings = ImageSettings()
    verifier: VerifierSettings = VerifierSettings()

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset(
        {
            "base_model",
            "benchmark",
            "dataset_config",
            "date_from",
            "date_to",
            "k",
            "max_prompts",
            "output_dir",
            "prompts",
            "revision",
            "source",
        }
    )
    """Settings that may change between attempts: they cannot change a sample or a verdict."""

    TWINS: ClassVar[dict[str, str]] = {
        "max_new_tokens": "generation.max_new_tokens",
        "temperature": "generation.temperature",
    }
    """Top-level spellings, and the key each stands for."""

    @model_validator(mode="before")
    @classmethod
    def _greedy_asks_once(cls, values: Any) -> Any:
        """Ask once for what would be said every time."""
        if not isinstance(values, dict) or "samples" in values:
            return values
        generation = values.get("generation", {})
        given = generation.get("temperature") if isinstance(generation, dict) else None
        return {**values, "samples": 1} if given in (0, "0") else values

    @model_validator(mode="after")
    def _k_within_samples(self) -> Self:
        """Refuse a k that the samples cannot estimate."""
        too_large = [k for k in self.k if k > self.samples]
        if too_large and "k" in self.model_fields_set:
            raise ValueError(
                f"k = {too_large[0]} needs at least {too_large[0]} samples a prompt, "
                f"samples is {self.samples}"
            )
        return self

    @model_validator(mode="after")
    def _same_samples_for_all(self) -> Self:
        """Refuse a budget that ends when answers pass: it would raise pass@k."""
        if self.generation.sampling != "fixed":
            raise ValueError(
                f"generation.sampling = {self.generation.sampling}: pass@k needs the same number "
                "of samples for every prompt, whatever their verdicts"
            )
        return self

    @model_validator(mode="after")
    def _greedy_says_it_once(self) -> Self:
        """Refuse equal answers, which would pass for as many tries."""
        if self.generation.temperature == 0 and self.samples > 1:
            raise ValueError(
                "temperature 0 gives the same answer every time: it needs samples = 1 "
                f"(--samples 1), samples is {self.samples}"
            )
        return self

    @model_validator(mode="after")
    def _one_source_of_problems(self) -> Self:
        """Refuse a prompts file beside a benchmark, and a data set's settings without one."""
        default = type(self).model_fields["prompts"].default
        if self.benchmark is not None and self.prompts != default:
            raise ValueError(
                f"benchmark = {self.benchmark} brings its own problems: leave out prompts, or "
                "measure the prompts alone (benchmark run)"
            )
        parts = ("source", "dataset_config", "revision", "date_from", "date_to")
        extra = [key for key in parts if getattr(self, key) is not None]
        if self.benchmark is None and extra:
            raise ValueError(f"{extra[0]} belongs to a benchmark by name, and none is given")
        if self.date_from and self.date_to and self.date_from > self.date_to:
            raise ValueError(f"date_from {self.date_from} is after date_to {self.date_to}")
        return self

    @property
    def budgets(self) -> tuple[int, ...]:
        """Every k that the samples can estimate."""
        return tuple(k for k in self.k if k <= self.samples)


class CompareConfig(Section):
    """How the answers of two models to the same problems are compared."""

    k: PositiveInt = 1
    """Compare pass@k; every side needs at least as many answers to a problem."""

    rate: Literal["pass", "compile"] = "pass"
    """Answers that count: those that pass every test, or those that compile."""

    seed: int = Field(0, ge=0)
    """Seed of the resampling."""
