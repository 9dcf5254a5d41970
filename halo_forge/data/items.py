"""What a public data set is, and what its rows become: the nouns of `public_datasets`.

A plug-in registers a `PublicDataset` under the entry point group ``halo_forge.datasets``; the ones
that come with halo-forge use the same table.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from halo_forge.core.identity import derive_seed
from halo_forge.core.types import Prompt
from halo_forge.data.rows import Rows, read_rows

__all__ = [
    "ODD_ROW",
    "Elsewhere",
    "Files",
    "Item",
    "PublicDataset",
    "Row",
    "Unfit",
    "View",
    "set_aside",
]

Row = Mapping[str, Any]
"""One row of a data set, by column."""

T = TypeVar("T")


class Unfit(ValueError):
    """A row gives no item; the text is the reason, the same for all rows with that reason."""


class Elsewhere(Unfit):
    """A row belongs to another part of the data set than the one that is read."""


ODD_ROW = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a converter raises where a row is not built as its columns promise: the row's fault."""


@dataclass(frozen=True, slots=True)
class View:
    """How rows are read: the part of a data set, and what is asked of it.

    Attributes:
        config: Configuration of the data set, or ``""`` for files without one.
        split: Split, such as ``train``.
        seed: Decides which tests are hidden.
        hidden: Share of a task's tests that is set aside, in [0, 1).
    """

    config: str = ""
    split: str = "train"
    seed: int = 0
    hidden: float = 0.0


@dataclass(frozen=True, slots=True)
class Item:
    """A row as a task, and an answer to learn from where the data set has one.

    Attributes:
        prompt: The task with its tests.
        answer: What an assistant says to it; ``None`` when the data set has no answers.
        question: What the answer answers, where that is not the prompt: a prompt asks for what
            can be judged.
        date: The day on which it was published, ``YYYY-MM-DD``, where the data set says so.
    """

    prompt: Prompt
    answer: str | None = None
    question: str | None = None
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one split.

    Attributes:
        patterns: Paths in the repository on the hub, with wildcards.
        rows: Number of rows, where it is published.
    """

    patterns: tuple[str, ...]
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class PublicDataset:
    """A data set that is known by name.

    Attributes:
        name: Short name, as in ``--dataset mbpp``.
        summary: One line for a person.
        hub_id: Repository on the hub.
        licence: Licence of the data, as its repository states it.
        fields: Columns that are read.
        tests: What its tests are, and which verifier reads them.
        configs: Configuration to split to files; the first configuration and the first split of
            each are the default.
        convert: Turns a row into an item; raises `Unfit` for one that gives none.
        language: Language of the answers, where all share one.
        answers: Whether rows have answers, so that a model can be trained on them.
        hidden: Share of tests set aside by default in the split ``train``; others keep all, so
            that figures on them mean what others mean by them.
        hides: Whether tests can be set aside: cases and asserts can, a single function cannot.
        releases: Names of files by which the data set is published elsewhere, with wildcards;
            looked for in a local folder that is no copy of the repository.
        images: Whether its tasks are about images.
        preset: Preset of the verifier `vision` that compares answers as its benchmark does.
        package: Installed Python package whose folder holds the files; it is not on the hub.
        reader: Reads the rows of a file, where they are no objects.
    """

    name: str
    summary: str
    hub_id: str
    licence: str
    fields: tuple[str, ...]
    tests: str
    configs: Mapping[str, Mapping[str, Files]]
    convert: Callable[[Row, View], Item]
    language: str | None = None
    answers: bool = True
    hidden: float = 0.0
    hides: bool = False
    releases: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    images: bool = False
    preset: str | None = None
    package: str | None = None
    reader: Callable[[Path], Rows] = read_rows

    @property
    def config(self) -> str:
        """The default configuration."""
        return next(iter(self.configs))

    def splits(self, config: str | None = None) -> tuple[str, ...]:
        """Return the splits of a configuration, the default one first."""
        return tuple(self.configs[config or self.config])


def set_aside(cases: Sequence[T], share: float, seed: int, name: str) -> tuple[list[T], list[T]]:
    """Split a task's cases into those that are shown to the reward and those that are hidden.

    At least one is kept, and with a positive share and two cases at least one is hidden. What is
    hidden depends on the seed and the task's name, and on no other task.

    Args:
        cases: The cases.
        share: Share to hide, in [0, 1).
        seed: Seed of the whole data set.
        name: Name of the task.

    Returns:
        Kept cases and hidden cases, each in their order.
    """
    if share <= 0 or len(cases) < 2:
        return list(cases), []
    number = min(max(1, round(share * len(cases))), len(cases) - 1)
    # Not for secrets: the same seed must give the same split everywhere.
    rng = random.Random(derive_seed(seed, "hidden", name))  # noqa: S311
    hidden = set(rng.sample(range(len(cases)), number))
    kept = [case for at, case in enumerate(cases) if at not in hidden]
    return kept, [case for at, case in enumerate(cases) if at in hidden]
