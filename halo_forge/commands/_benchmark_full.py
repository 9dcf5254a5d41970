"""`halo-forge benchmark full`: the pass, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import orjson

from halo_forge.commands._options import Display
from halo_forge.commands._output import echo_grid, echo_json
from halo_forge.config.base import flatten
from halo_forge.config.full import FullConfig
from halo_forge.config.load import Resolved

if TYPE_CHECKING:
    from halo_forge.benchmark.full import FullResult

__all__ = ["show_full"]


def show_full(resolved: Resolved[FullConfig], display: Display, *, dry_run: bool) -> None:
    """Do the pass, or with ``dry_run`` say what would be done, and print what came of it."""
    from halo_forge.report.tables import settings_grid

    config = resolved.value
    if dry_run:
        settings = config.model_dump(mode="json")
        if display.as_json:
            echo_json({"config": settings, "sources": dict(resolved.sources)})
        else:
            echo_grid(settings_grid(flatten(settings), resolved.sources))
            click.echo(f"\nModels: {', '.join(config.models)}")
        return
    from halo_forge.benchmark.full import run_full
    from halo_forge.report.full import full_record
    from halo_forge.store.atomic import write_text
    from halo_forge.store.full_dir import FullDir

    results: list[FullResult] = []
    try:
        for result in run_full(config, display.observer()):
            results.append(result)
            text = orjson.dumps(full_record(result), option=orjson.OPT_INDENT_2).decode()
            write_text(FullDir(result.folder).result_path, text + "\n")
    finally:
        _show(results, config, display)


def _show(results: Sequence[FullResult], config: FullConfig, display: Display) -> None:
    """Print what came of the models that are done."""
    from halo_forge.report.full import full_grid, full_record, full_sentences
    from halo_forge.utils.text import printable

    if not results:
        return
    if display.as_json:
        echo_json([full_record(result) for result in results])
        return
    echo_grid(full_grid(results))
    click.echo()
    for line in full_sentences(results):
        click.echo(printable(line))
    click.echo(f"\nEverything: {printable(config.output_dir)}")
