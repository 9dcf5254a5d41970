"""Settings of data preparation (`halo-forge data prepare` and `data prompts`)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from halo_forge.config.base import PositiveInt, Section

__all__ = ["SourceConfig"]


class SourceConfig(Section):
    """Which data set, which part of it, and what is made of it."""

    dataset: str | None = None
    """Name of a data set (`--list` shows them), an id on the hub (`owner/name`), or a file."""

    output: str | None = None
    """File to write; its manifest goes beside it."""

    config: str | None = None
    """Configuration of the data set, where it has several."""

    split: str | None = None
    """Split to read; the data set's first one when not given."""

    source: str | None = None
    """Local folder that holds the data set's files as the hub has them, or one file."""

    revision: str | None = None
    """Branch, tag or commit on the hub."""

    prompt_field: str | None = None
    """Column of the task, in data sets that are not known by name."""

    response_field: str | None = None
    """Column of the answer, in data sets that are not known by name."""

    max_samples: PositiveInt | None = None
    """Stop after so many lines; files that are not needed for them are not fetched."""

    seed: int = Field(0, ge=0)
    """Decides which tests are hidden."""

    hidden_share: float | None = Field(None, ge=0, lt=1)
    """Share of each task's tests that is set aside as hidden; the data set's own when not given."""

    system_prompt: str | None = None
    """System message for every chat that has none."""

    template: Literal["messages", "chatml", "qwen", "llama"] = "messages"
    """`messages`: chats, to which training applies the model's template; else their text."""

    model: str | None = None
    """Write the text that this model's own chat template makes."""

    thinking: Literal["keep", "strip"] = "keep"
    """What becomes of reasoning in `<think>` blocks."""

    @model_validator(mode="after")
    def _one_template(self) -> Self:
        """Refuse two templates at once."""
        if self.model is not None and self.template != "messages":
            raise ValueError("template: is not used with a model, which has one of its own")
        return self
