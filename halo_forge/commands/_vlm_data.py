"""`halo-forge vlm datasets` and `vlm scenes`: questions about images to train and test with."""

from __future__ import annotations

from pathlib import Path

import click

from halo_forge.commands import _options
from halo_forge.config.scenes import ScenesConfig

__all__ = ["datasets", "scenes"]

_SCENE_FLAGS: dict[str | tuple[str, ...], str] = {
    ("--output", "-o"): "output",
    "--pictures": "pictures",
    "--kinds": "kinds",
    "--hardest": "hardest",
    "--size": "size",
    "--seed": "seed",
}


@click.command("datasets")
@_options.json_output
@_options.verbose
def datasets(as_json: bool) -> None:
    """List the data sets of questions about images, for --dataset."""
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.data import public_datasets
    from halo_forge.report.grid import Grid

    known = [public_datasets.get(name) for name in public_datasets.names()]
    sets = [one for one in known if one.images]
    if as_json:
        keys = ("name", "summary", "hub_id", "licence", "tests", "preset")
        sizes = [
            {
                config: {split: files.rows for split, files in splits.items()}
                for config, splits in one.configs.items()
            }
            for one in sets
        ]
        described = [{key: getattr(one, key) for key in keys} for one in sets]
        echo_json([one | {"configs": rows} for one, rows in zip(described, sizes, strict=True)])
        return
    header = ("name", "repository", "rows", "licence", "preset", "what it is")
    rows = [
        (
            one.name,
            one.hub_id,
            ", ".join(f"{name} {files.rows}" for name, files in one.configs[one.config].items()),
            one.licence,
            one.preset or "",
            one.summary,
        )
        for one in sets
    ]
    echo_grid(Grid(header, tuple(rows), wide=True))


@click.command("scenes")
@_options.settings(ScenesConfig, _SCENE_FLAGS)
@_options.json_output
@_options.progress
@_options.quiet
@_options.verbose
@click.pass_context
def scenes(ctx: click.Context, as_json: bool, progress: str | None, quiet: bool) -> None:
    """Draw pictures with questions whose answers are exact.

    Shapes to count, charts to read, invoices to look things up in, from easy to hard: to try a
    model before it costs a data set, and as the first part of a curriculum.

    \b
    Examples:
      halo-forge vlm scenes --output data/scenes
      halo-forge vlm scenes --output data/heldout --pictures 50 --seed 1
      halo-forge vlm scenes -o data/charts --kinds chart --hardest 5
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._output import echo_json
    from halo_forge.core.errors import UserError
    from halo_forge.data.scenes import PROMPTS_FILE, write_scenes

    settings = _options.resolve(ctx, ScenesConfig).value
    if settings.output is None:
        raise UserError("--output is missing: the folder for the pictures and their questions")
    folder = Path(settings.output).expanduser()
    observer = _options.Display(progress, quiet=quiet, as_json=as_json).observer()
    with observer.stage("draw", settings.pictures, unit="pictures") as stage:
        questions = write_scenes(
            folder,
            pictures=settings.pictures,
            kinds=settings.kinds,
            hardest=settings.hardest,
            seed=settings.seed,
            size=settings.size,
            advance=stage.advance,
        )
    made = {"prompts": str(folder / PROMPTS_FILE), "pictures": settings.pictures,
            "questions": questions}  # fmt: skip
    if as_json:
        echo_json(made)
    elif not quiet:
        click.echo(f"{made['prompts']}: {questions} questions about {settings.pictures} pictures")
