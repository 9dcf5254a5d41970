"""`halo-forge plan`: memory, time and disk of a run before it starts."""

from __future__ import annotations

import time
from pathlib import Path

import click

from halo_forge.commands import _options
from halo_forge.commands._raft_flags import RAFT_FLAGS
from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import CheckFailed

__all__ = ["command"]


@click.command("plan")
@_options.config_files
@_options.settings(RaftConfig, RAFT_FLAGS)
@_options.assignments
@click.option(
    "--like",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="RUN",
    help="An earlier run whose answers are expected again: how long they get, how many are kept.",
)
@_options.json_output
@_options.quiet
@_options.verbose
@click.pass_context
def command(ctx: click.Context, like: Path | None, as_json: bool, quiet: bool) -> None:
    """Show memory, time and disk of a RAFT run before it starts.

    Takes the settings of raft train. The machine's rates are measured once and kept; then the
    decoder, the learner and the verifier work for some seconds on the run's own model and prompts,
    and what they took is laid out over the whole run. Nothing is written but the rates.

    Exit code 0: it fits; 1: memory or disk do not suffice, with what to change.

    \b
    Examples:
      halo-forge plan --config configs/raft_cpu.yaml
      halo-forge plan --config configs/raft_cpu.yaml --cycles 5 --like models/raft_cpu
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.report.plans import plan_document, plan_grids, plan_words

    config = _options.resolve(ctx, RaftConfig).value
    started = time.perf_counter()
    from halo_forge.rlvr.survey import survey

    importing = time.perf_counter() - started
    progress = "none" if quiet or as_json else None
    observer = _options.Display(progress, quiet, as_json).observer()
    found = survey(config, like, observer, importing=importing)
    if as_json:
        echo_json(plan_document(found))
    else:
        for grid in plan_grids(found):
            echo_grid(grid)
            click.echo()
        for line in plan_words(found):
            click.echo(line)
    if found.problems:
        raise CheckFailed("\n".join(["it does not fit:", *found.problems]))
