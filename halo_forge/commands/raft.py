"""`halo-forge raft`: train a model on its own verified answers."""

from __future__ import annotations

from pathlib import Path

import click

from halo_forge.commands import _options
from halo_forge.commands._raft_flags import RAFT_FLAGS
from halo_forge.config.raft import RaftConfig

__all__ = ["command"]


@click.group("raft")
def command() -> None:
    """Train a model on its own verified answers."""


@command.command("train")
@_options.config_files
@_options.settings(RaftConfig, RAFT_FLAGS)
@_options.assignments
@_options.fork
@_options.dry_run
@_options.json_output
@_options.progress
@_options.quiet
@_options.verbose
@click.pass_context
def train(
    ctx: click.Context,
    fork: Path | None,
    dry_run: bool,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Generate, verify, select and train, cycle by cycle.

    A run that was interrupted goes on when the same command is given again.

    \b
    Examples:
      halo-forge raft train --config configs/raft_example.yaml
      halo-forge raft train -c builtin:demo -o runs/mine --cycles 5
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._training import show_plan, train_and_show

    resolved = _options.resolve(ctx, RaftConfig)
    if dry_run:
        show_plan(resolved, as_json=as_json, fork=fork)
    else:
        display = _options.Display(progress, quiet=quiet, as_json=as_json)
        train_and_show(resolved.value, display, fork=fork)
