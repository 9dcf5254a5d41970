"""What `raft study` shows: its plan, and what it found."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import orjson

from halo_forge.commands._options import Display
from halo_forge.commands._output import echo_grid, echo_json
from halo_forge.config.base import flatten
from halo_forge.config.load import Resolved
from halo_forge.config.study import StudyConfig
from halo_forge.report.grid import Grid
from halo_forge.report.tables import settings_grid
from halo_forge.store.run_dir import RunDir
from halo_forge.store.study_dir import StudyDir
from halo_forge.utils.text import printable

__all__ = ["show_study", "show_study_plan"]


def show_study(config: StudyConfig, display: Display) -> None:
    """Run a study, write what it found and print it.

    Raises:
        HaloForgeError: Whatever stopped it; what was done stays on disk.
        KeyboardInterrupt: When the user stopped it, after saying how to go on.
    """
    from halo_forge.benchmark.study import run_study
    from halo_forge.report.study import (
        rates_told,
        seeds_grid,
        study_grid,
        study_record,
        study_sentence,
    )
    from halo_forge.store.atomic import write_text

    observer = display.observer()
    folder = StudyDir(Path(config.output_dir))
    try:
        found = run_study(config, observer)
    except KeyboardInterrupt:
        observer.message(f"{folder.path} keeps what is done; the same command goes on from there")
        raise
    record = study_record(found)
    with folder.alone():
        text = orjson.dumps(record, option=orjson.OPT_INDENT_2).decode() + "\n"
        write_text(folder.result_path, text)
    if display.as_json:
        echo_json(record)
        return
    for rate in rates_told(found):
        echo_grid(study_grid(found, rate))
        click.echo()
        echo_grid(seeds_grid(found, rate))
        click.echo(f"\n{study_sentence(found, rate)}.\n")
    for name, why in found.ended.items():
        click.echo(printable(f"Ended early, and measured there: {name}: {why}"))
    click.echo(f"All of it: {shlex.quote(printable(str(folder.result_path)))}")


def show_study_plan(resolved: Resolved[StudyConfig], *, as_json: bool) -> None:
    """Print the settings and the runs of a study, with how far each is."""
    config = resolved.value
    settings = config.model_dump(mode="json")
    runs = [_plan(config, arm, config.seed + n) for n in range(config.seeds) for arm in config.arms]
    if as_json:
        echo_json({"config": settings, "sources": dict(resolved.sources), "runs": runs})
        return
    echo_grid(settings_grid(flatten(settings), resolved.sources))
    click.echo()
    header = ("run", "cycles done", "of")
    rows = ((str(one["run"]), str(one["done"]), str(one["cycles"])) for one in runs)
    echo_grid(Grid(header, tuple(rows), wide=True))


def _plan(config: StudyConfig, arm: str, seed: int) -> dict[str, str | int]:
    path = StudyDir(Path(config.output_dir)).arm_path(arm, seed)
    cycles = 0 if arm == "sft" else config.raft.num_cycles
    return {"run": str(path), "done": RunDir(path).last_complete, "cycles": cycles}
