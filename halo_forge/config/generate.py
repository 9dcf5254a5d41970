"""Settings of `halo-forge data generate`, and what a topic is."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from halo_forge.config.base import NonNegative, Positive, PositiveInt, Section
from halo_forge.config.sections import VerifierSettings
from halo_forge.config.server import ServerSettings
from halo_forge.utils.text import did_you_mean

__all__ = [
    "BACKENDS",
    "AskSettings",
    "BudgetSettings",
    "CheckSettings",
    "GenerateConfig",
    "JudgeSettings",
    "PriceSettings",
    "TopicConfig",
]


BACKENDS = ("anthropic", "deepseek", "ollama", "openai")
"""Services whose settings are shipped, as ``presets/generate-NAME.yaml``."""


class AskSettings(Section):
    """How a server is asked for tasks."""

    temperature: NonNegative | None = None
    """Sampling temperature; the server's own when absent."""

    max_new_tokens: PositiveInt = 4096
    """Longest answer in tokens: a statement, its solution and its tests together."""

    structured: Literal["schema", "object", "none"] = "schema"
    """How JSON is asked for beside the words: by its schema, as any object, or not at all, for
    servers that know no better."""

    requests_per_minute: Positive | None = None
    """Requests sent in a minute, evenly; for services that count them and say no Retry-After."""

    server: ServerSettings = ServerSettings()


class BudgetSettings(Section):
    """When to stop asking; what was spent in earlier attempts counts."""

    max_requests: int | None = Field(None, ge=0)
    """Answers to ask for in all, for this topic and output folder."""

    max_tokens: int | None = Field(None, ge=0)
    """Tokens to spend in all, read and written. A request that might go beyond it is not sent."""


class PriceSettings(Section):
    """What a server takes, for estimates; in any currency."""

    input: NonNegative | None = None
    """Price of a million tokens that the model reads."""

    output: NonNegative | None = None
    """Price of a million tokens that the model writes."""


class CheckSettings(Section):
    """What an item must stand before it is written."""

    repeats: PositiveInt = 3
    """How often the solution is run on its tests; one failure rejects it."""

    require_strong: bool = True
    """Reject items whose tests can only be run in the solution's own process."""


_JUDGE = VerifierSettings()


class JudgeSettings(Section):
    """Limits of the verifier, which the topic chooses; as in the section `verifier` elsewhere."""

    timeout: Positive = _JUDGE.timeout
    """CPU seconds for the compiler, or for all tests of a function together."""

    run_timeout: Positive = _JUDGE.run_timeout
    """CPU seconds for each run of a program."""

    memory_limit_mb: PositiveInt = _JUDGE.memory_limit_mb
    """Memory of the running program, in MiB."""

    max_workers: PositiveInt | None = _JUDGE.max_workers
    """Solutions judged at once; cores and one more when absent."""

    require_sandbox: tuple[str, ...] = _JUDGE.require_sandbox
    """Guarantees of the sandbox that must hold; see `halo-forge info`."""

    unsafe_no_sandbox: bool = _JUDGE.unsafe_no_sandbox
    """Run the programs that a model wrote without a sandbox."""

    def of_type(self, kind: str) -> VerifierSettings:
        """Return the settings for a verifier; limits that it does not know stay at defaults."""
        given = self.model_dump(exclude_unset=True)
        return VerifierSettings(type=kind, **given)


class GenerateConfig(Section):
    """Everything that generating data depends on, its topic apart."""

    protocol: Literal["openai", "anthropic"] = "openai"
    """What the server speaks: OpenAI's chat completions, or Anthropic's messages."""

    model: str | None = None
    """The server's name for the model."""

    output_dir: str = "data/generated"
    """Folder of the results; each topic has a folder in it."""

    count: PositiveInt | None = None
    """Items for each category and difficulty; the topic's own number when absent."""

    seed: int = Field(0, ge=0)
    """Seed of the choice of themes, and of the requests."""

    generation: AskSettings = AskSettings()
    budget: BudgetSettings = BudgetSettings()
    price: PriceSettings = PriceSettings()
    checks: CheckSettings = CheckSettings()
    verifier: JudgeSettings = JudgeSettings()

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> Self:
        """Refuse settings that would change nothing."""
        if self.protocol == "anthropic":
            if self.generation.temperature is not None:
                raise ValueError(
                    "generation.temperature: Anthropic's API takes none; drop it, or ask another "
                    "server"
                )
            if self.generation.structured == "object":
                raise ValueError(
                    "generation.structured = object: Anthropic's API knows a schema or nothing"
                )
        return self


_LANGUAGES = ("c", "cpp", "go", "python", "rust")
_REQUIRED = ("name", "language", "task", "closing", "categories", "difficulties")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_HARDEST = 5


class TopicConfig(Section):
    """A topic: which tasks an LLM is asked for. Copy a shipped one and change it."""

    name: str = ""
    """Name of the topic and of its folder: small letters, digits and underscores."""

    language: str = ""
    """Language of the solutions: c, cpp, go, python or rust."""

    tests: Literal["cases", "code"] = "cases"
    """`cases`: programs, tested by input and output; `code`: functions, tested by pytest
    functions (Python only)."""

    task: str = ""
    """What kind of task is wanted."""

    rules: tuple[str, ...] = ()
    """What every task must keep to."""

    closing: str = ""
    """Sentence put under every statement, for whoever solves the task."""

    min_tests: PositiveInt = 4
    """Fewest test cases of an item (`tests: cases`)."""

    categories: dict[str, str] = Field({})
    """Name of each category, and what it is about."""

    difficulties: dict[int, str] = Field({})
    """Each difficulty, 1 (easiest) to 5, and what it means."""

    themes: tuple[str, ...] = ()
    """Settings of which each request gets one, so that tasks differ."""

    count: PositiveInt = 2
    """Items for each category and difficulty."""

    @property
    def verifier(self) -> str:
        """Who judges such tests."""
        return "execution" if self.tests == "cases" else "pytest"

    @property
    def missing(self) -> list[str]:
        """Keys that a topic must have, and this one lacks."""
        return [key for key in _REQUIRED if not getattr(self, key)]

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        """Refuse names that are none, and tests that nobody could run."""
        if self.name and not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name: {self.name!r} names a folder too: small letters, digits and underscores"
            )
        if self.language and self.language not in _LANGUAGES:
            hint = did_you_mean(self.language, _LANGUAGES)
            raise ValueError(
                f"language: {self.language!r} is none of {', '.join(_LANGUAGES)}.{hint}"
            )
        if self.tests == "code" and self.language not in ("", "python"):
            raise ValueError(f"tests: code is for Python; {self.language} needs tests: cases")
        odd = [level for level in self.difficulties if not 1 <= level <= _HARDEST]
        if odd:
            raise ValueError(f"difficulties: {odd[0]} is none of 1 (easiest) to {_HARDEST}")
        return self
