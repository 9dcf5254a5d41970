"""`halo-forge demo`: the main job on the built-in model and tasks, in minutes on a CPU."""

from __future__ import annotations

from pathlib import Path

import click

from halo_forge.commands import _options
from halo_forge.config.raft import RaftConfig

__all__ = ["command"]

_PRESET = Path("builtin:demo")


@click.command("demo")
@_options.setting(RaftConfig, "output_dir", "--output", "-o", shown=f"as in {_PRESET}")
@_options.setting(RaftConfig, "seed", "--seed")
@_options.assignments
@_options.long_running
@click.pass_context
def command(
    ctx: click.Context, dry_run: bool, as_json: bool, progress: str | None, quiet: bool
) -> None:
    """Run the main job on the built-in model and tasks, in minutes on a CPU.

    It is `halo-forge raft train --config builtin:demo`, and prints the held-out rates before and
    after.
    """
    from halo_forge.commands._training import show_plan, train_and_show

    resolved = _options.resolve(ctx, RaftConfig, files=[_PRESET])
    if dry_run:
        show_plan(resolved, as_json=as_json)
    else:
        display = _options.Display(progress, quiet=quiet, as_json=as_json)
        train_and_show(resolved.value, display)
