"""Settings of looking at data before it is trained on (`halo-forge data validate`)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from halo_forge.config.base import Fraction, PositiveInt, Section

__all__ = ["DecontaminationSettings", "ValidateConfig"]


class DecontaminationSettings(Section):
    """Benchmarks that must not be trained on; what is left of the data counts, and is compared."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset(
        {"against", "action", "ngram", "share", "code_ngram", "code_share"}
    )

    against: tuple[str, ...] = ()
    """Benchmarks: files, public data sets (`NAME`, `NAME/SPLIT`, or `NAME=FOLDER` for a local copy)
    and `builtin:LANGUAGE/SPLIT`. Without any, nothing is compared."""

    action: Literal["remove", "mark", "refuse"] = "remove"
    """What happens to a record that holds a task: it is left out, only counted, or the run does not
    start."""

    ngram: Annotated[int, Field(ge=2)] = 10
    """Words in a row that are compared; a task shorter than that is compared as a whole."""

    share: Fraction = 0.7
    """A record holds a task when it has at least this share of its n-grams."""

    code_ngram: Annotated[int, Field(ge=2)] = 20
    """Tokens in a row that are compared, names made alike."""

    code_share: Fraction = 0.8
    """A record holds a solution when it has at least this share of its n-grams."""


class ValidateConfig(Section):
    """How a file is looked at."""

    tokenizer: str | None = None
    """Model whose tokens lengths are counted in: `builtin:NAME`, a folder, or a hub id."""

    max_tokens: PositiveInt | None = None
    """Longest record in tokens; a longer one would be cut or left out in training."""

    near: Fraction = 0.7
    """Similarity (Jaccard, of word 3-grams) from which two records are nearly the same."""

    seed: int = Field(0, ge=0)
    """Seed of the hash functions that find near-duplicates."""

    decontaminate: DecontaminationSettings = DecontaminationSettings()
