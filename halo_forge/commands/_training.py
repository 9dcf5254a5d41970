"""What `raft train` and `demo` share: the plan, the run, and the words at its end."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from halo_forge.commands._options import Display
from halo_forge.commands._output import echo_grid, echo_json
from halo_forge.config.base import flatten
from halo_forge.config.load import Resolved
from halo_forge.config.raft import RaftConfig
from halo_forge.report.lessons import notices
from halo_forge.report.records import Run, is_run, read_run
from halo_forge.report.tables import before_after, settings_grid
from halo_forge.store.run_dir import RunDir
from halo_forge.utils.text import printable

__all__ = ["show_plan", "train_and_show"]


def show_plan(resolved: Resolved[RaftConfig], *, as_json: bool, fork: Path | None = None) -> None:
    """Print the settings, what a run with them would do, and what is done already.

    Raises:
        UserError: If the prompts cannot be read.
    """
    config = resolved.value
    settings = config.model_dump(mode="json")
    plan = _plan(config, fork or Path(config.output_dir))
    if as_json:
        echo_json({"config": settings, "sources": dict(resolved.sources), **plan})
        return
    echo_grid(settings_grid(flatten(settings), resolved.sources))
    each = config.raft.samples_per_prompt
    most = " at most" if config.reading_verdicts or config.curriculum.kind != "none" else ""
    click.echo(
        f"\nA cycle: {plan['prompts']} prompts x {each} = {plan['answers_per_cycle']} answers{most}"
    )
    click.echo(f"Held out: {plan['heldout_prompts']} prompts")
    click.echo(f"Cycles: {plan['cycles_done']} of {config.raft.num_cycles} done in {plan['run']}")
    click.echo("Memory, time and disk: halo-forge plan, with the same flags")


def train_and_show(
    config: RaftConfig,
    display: Display,
    *,
    fork: Path | None = None,
    measure: str = "benchmark run",
) -> None:
    """Run the loop and print how the held-out rates changed.

    Args:
        config: The run.
        display: How it is shown.
        fork: New run directory, to go on there with other settings.
        measure: The command that measures such a model.

    Raises:
        HaloForgeError: Whatever stopped the run; what was done stays on disk.
        KeyboardInterrupt: When the user stopped it, after saying how to go on.
    """
    from halo_forge.rlvr.raft_trainer import RAFTTrainer

    observer = display.observer()
    path = fork or Path(config.output_dir)
    try:
        RAFTTrainer(config, observer=observer, fork=fork).train()
    except KeyboardInterrupt:
        observer.message(f"{path} keeps what is done; the same command goes on from there")
        raise
    run = read_run(path)
    if display.as_json:
        echo_json({"run": str(path), "control": run.control, "cycles": run.statistics})
    else:
        _show_end(run, measure)


def _plan(config: RaftConfig, path: Path) -> dict[str, Any]:
    from halo_forge.rlvr.material import read_material

    material = read_material(config)
    prompts = len(material.prompts)
    return {
        "run": printable(str(path)),
        "prompts": prompts,
        "answers_per_cycle": prompts * config.raft.samples_per_prompt,
        "heldout_prompts": len(material.heldout),
        "cycles_done": read_run(path).done if is_run(path) else 0,
    }


def _show_end(run: Run, measure: str) -> None:
    for line in notices(run):
        click.echo(printable(line))
    grid = before_after(run.cycles)
    if grid is None:
        click.echo("No held-out prompts were given (--eval-prompts), so nothing was compared.")
    else:
        echo_grid(grid)
    path = shlex.quote(printable(str(run.path)))
    click.echo(f"\nRun:  {path}, {run.done} of {run.planned} cycles")
    click.echo(f"Look: halo-forge runs show {path}")
    if run.done:
        chosen = run.best or run.done
        checkpoint = shlex.quote(printable(str(RunDir(run.path).checkpoint_path(chosen))))
        click.echo(f"Next: halo-forge {measure} --model {checkpoint}")
