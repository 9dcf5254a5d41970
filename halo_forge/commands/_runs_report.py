"""`halo-forge runs report`: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from halo_forge.commands import _options
from halo_forge.config.view import REPORT_SAMPLES
from halo_forge.core.errors import UserError
from halo_forge.utils.text import printable

__all__ = ["report"]


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file to write; report.html in RUN when not given.",
)
@click.option(
    "--samples",
    "count",
    type=click.IntRange(0),
    default=REPORT_SAMPLES,
    show_default=True,
    help="How many of the best answers, and of the worst.",
)
@_options.verbose
def report(run: Path, output: Path | None, count: int) -> None:
    """Write RUN as one HTML file, with curves, samples, settings and environment.

    The file needs no network and runs no script; what a model wrote is text in it.
    """
    from halo_forge.report.page import report_html
    from halo_forge.report.records import read_run
    from halo_forge.store.atomic import write_text
    from halo_forge.store.run_dir import RunDir

    found = read_run(run)
    path = output or RunDir(run).report_path
    if path.is_dir():
        raise UserError(f"--output {path}: is a directory; name a file, such as {path}/report.html")
    write_text(path, report_html(found, count))
    click.echo(printable(str(path)))
