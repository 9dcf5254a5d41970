"""`--dataset` of `halo-forge vlm`: questions of a public data set, as a prompts file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from halo_forge.commands import _options
from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.config.load import Resolved
from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import UserError

__all__ = ["MEASURED", "dataset", "note_questions"]

MEASURED = ("validation", "val", "testmini", "test")
"""Splits to measure on, best first: the test split of a challenge often has no answers."""


def dataset(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --dataset and --limit."""
    named = click.option(
        "--dataset",
        metavar="NAME",
        help="Public data set instead of --prompts: NAME or NAME/SPLIT (halo-forge vlm datasets "
        "lists them), or NAME=FOLDER for a local copy.",
    )
    limited = click.option(
        "--limit", type=click.IntRange(min=1), help="So many of its questions, the first ones."
    )
    return named(limited(function))


def note_questions(
    ctx: click.Context,
    resolved: Resolved[RaftConfig] | Resolved[BenchmarkConfig],
    display: _options.Display,
    *,
    name: str | None,
    limit: int | None,
    splits: Sequence[str] = (),
) -> None:
    """Make the questions of a data set the prompts of this call, compared as the data set says.

    Args:
        ctx: The running command's context.
        resolved: The configuration without them.
        display: Shows the rows being read.
        name: What --dataset says; nothing is noted without it.
        limit: What --limit says.
        splits: Splits to look for where the name has none; else the data set's first one.

    Raises:
        UserError: If there is no such data set, it shows no images, or there are prompts already.
        StoreFault: If the hub cannot be asked.
    """
    if name is None:
        if limit is not None:
            raise UserError("--limit counts the questions of a --dataset, and none is named")
        return
    if (other := resolved.sources["prompts"]) != "default":
        raise UserError(f"--dataset: there are prompts already ({other}); keep one of the two")
    from halo_forge.commands._data_sources import kept_prompts
    from halo_forge.config.sources import SourceConfig
    from halo_forge.data import public_datasets
    from halo_forge.models.builtin import cache_dir

    name, _, folder = name.partition("=")
    name, _, split = name.partition("/")
    chosen = public_datasets.get(name)
    if not chosen.images:
        raise UserError(f"dataset {name!r} shows no images; halo-forge vlm datasets lists others")
    known = chosen.splits()
    split = split or next((one for one in splits if one in known), known[0])
    settings = SourceConfig(dataset=name, split=split, source=folder or None, max_samples=limit)
    path = kept_prompts(settings, cache_dir() / "prompts", display)
    _options.note(ctx, "prompts", str(path), "--dataset")
    if "preset" not in resolved.value.verifier.options and chosen.preset is not None:
        _options.note(ctx, "verifier.options.preset", chosen.preset, "--dataset")
