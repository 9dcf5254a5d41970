"""`halo-forge runs`: list runs, look into one, compare several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from halo_forge.commands import _options
from halo_forge.commands._runs_report import report
from halo_forge.commands._runs_samples import samples
from halo_forge.core.errors import HaloForgeError, UserError
from halo_forge.utils.text import printable

if TYPE_CHECKING:
    from halo_forge.report.records import Run

__all__ = ["command"]

_FOLDER = click.Path(path_type=Path)
_USUAL = (Path("models"), Path("runs"))


@click.group("runs")
def command() -> None:
    """List runs, look into one, compare several."""


command.add_command(samples)
command.add_command(report)


@command.command("list")
@click.argument("folders", nargs=-1, type=_FOLDER, metavar="[DIR]...")
@_options.json_output
@_options.verbose
def list_runs(folders: tuple[Path, ...], as_json: bool) -> None:
    """List the runs in each DIR and up to two levels below (./models and ./runs if none is given).

    A run whose files are damaged is named on stderr and left out.
    """
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.report.records import find_runs
    from halo_forge.report.tables import runs_grid

    places = folders or _USUAL
    runs = [run for path in find_runs(places) if (run := _readable(path)) is not None]
    if as_json:
        echo_json([_summary(run) for run in runs])
    elif runs:
        echo_grid(runs_grid(runs))
    else:
        click.echo(f"No runs in {', '.join(printable(str(place)) for place in places)}.")


@command.command("show")
@click.argument("run", type=_FOLDER)
@_options.json_output
@_options.verbose
def show_run(run: Path, as_json: bool) -> None:
    """Show the cycles of RUN, what is done and what is owed."""
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.report.lessons import errors_grid, honesty_grid, notices
    from halo_forge.report.records import read_run
    from halo_forge.report.tables import before_after, cycles_grid

    found = read_run(run)
    if as_json:
        echo_json({**_summary(found), "info": found.info, "cycles": found.statistics})
        return
    for line in notices(found):
        click.echo(printable(line))
    echo_grid(cycles_grid(found.cycles))
    others = before_after(found.cycles), errors_grid(found.cycles), honesty_grid(found.cycles)
    for grid in others:
        if grid is not None:
            click.echo()
            echo_grid(grid)
    click.echo(f"\nDone: {found.done} of {found.planned} cycles; owed: {found.owed}.")
    if found.owed:
        click.echo("The command that started the run goes on with it.")


@command.command("compare")
@click.argument("runs", nargs=-1, required=True, type=_FOLDER, metavar="RUN RUN...")
@_options.json_output
@_options.verbose
def compare_runs(runs: tuple[Path, ...], as_json: bool) -> None:
    """Show the rates of several runs side by side, by cycle, and the settings that differ."""
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.report.compare import (
        compare_grids,
        names_grid,
        settings_differ_grid,
        settings_difference,
    )
    from halo_forge.report.records import read_run

    if len(runs) < 2:
        raise UserError("a comparison needs two runs or more; `halo-forge runs list` lists them")
    found = [read_run(path) for path in runs]
    if as_json:
        documents = [{**_summary(run), "cycles": run.statistics} for run in found]
        echo_json({"runs": documents, "settings": settings_difference(found)})
        return
    for grid in [names_grid(found), *compare_grids(found)]:
        echo_grid(grid)
        click.echo()
    if settings_difference(found):
        echo_grid(settings_differ_grid(found))
    else:
        click.echo("All settings are the same.")


def _readable(path: Path) -> Run | None:
    from halo_forge.report.records import read_run

    try:
        return read_run(path)
    except HaloForgeError as error:
        click.echo(printable(str(error)), err=True)
        return None


def _summary(run: Run) -> dict[str, Any]:
    return {
        "run": str(run.path),
        "model": run.config.get("model.name"),
        "verifier": run.config.get("verifier.type"),
        "control": run.control,
        "best_cycle": run.best,
        "ended_early": run.stopped,
        "cycles_done": run.done,
        "cycles_owed": run.owed,
    }
