"""`halo-forge runs samples`: what a model answered, page by page."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from halo_forge.commands import _options
from halo_forge.config.view import PAGE_SIZE
from halo_forge.core.errors import UserError

if TYPE_CHECKING:
    from halo_forge.report.samples import Kind, Wanted

__all__ = ["samples"]

_UNLIMITED = 120


@click.command("samples")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--held-out", is_flag=True, help="Held-out answers, not those to train on.")
@click.option("--cycle", "cycles", type=int, multiple=True, metavar="N", help="Repeatable.")
@click.option("--prompt", metavar="TEXT", help="Id of the prompt, or a part of its text.")
@click.option("--text", metavar="TEXT", help="A part of the answer.")
@click.option("--verdict", type=click.Choice(["pass", "compiles", "fails"]))
@click.option("--error", metavar="CLASS", help="Class of the error, as each sample shows it.")
@click.option("--raw", is_flag=True, help="The whole answer beside the code found in it.")
@click.option("--limit", type=click.IntRange(1), default=PAGE_SIZE, show_default=True)
@click.option("--offset", type=click.IntRange(0), metavar="N", help="Samples to pass over.")
@click.option(
    "--solved", is_flag=True, help="Prompts solved for the first time, and lost, by cycle instead."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@_options.verbose
def samples(
    run: Path,
    held_out: bool,
    cycles: tuple[int, ...],
    prompt: str | None,
    text: str | None,
    verdict: str | None,
    error: str | None,
    raw: bool,
    limit: int,
    offset: int | None,
    solved: bool,
    as_json: bool,
) -> None:
    """Show the answers in RUN with their verdicts, a page at a time.

    With several filters an answer has to match them all.
    """
    from halo_forge.report.records import read_run
    from halo_forge.report.samples import Wanted

    read_run(run)
    kind: Kind = "heldout" if held_out else "training"
    wanted = Wanted(cycles, prompt, text, verdict, error)  # type: ignore[arg-type]
    if solved and wanted != Wanted(prompt=prompt):
        raise UserError("--solved looks at all answers: of the filters it takes --prompt only")
    if solved:
        _show_solved(run, kind, wanted, as_json=as_json)
    else:
        _show_page(run, kind, wanted, offset or 0, limit, as_json=as_json, raw=raw)


def _show_page(
    run: Path, kind: Kind, wanted: Wanted, offset: int, limit: int, *, as_json: bool, raw: bool
) -> None:
    from halo_forge.report.samples import read_answers, sample_document, select_answers

    answers = read_answers(run, kind, wanted.cycles or None)
    page, total = select_answers(answers, wanted, offset, limit)
    if as_json:
        for answer in page:
            # ASCII only: what a model wrote must not drive a terminal that this is shown on.
            click.echo(json.dumps(sample_document(answer)))
        return
    if not page:
        click.echo(_none(run, kind, total))
        return
    from halo_forge.report.cards import card

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else _UNLIMITED
    color = terminal and "NO_COLOR" not in os.environ
    for answer in page:
        click.echo(card(answer, width, color=color, raw=raw) + "\n", color=color)
    last = offset + len(page)
    more = f"; --offset {last} goes on" if last < total else ""
    click.echo(f"{offset + 1} to {last} of {total}{more}.")


def _none(run: Path, kind: Kind, total: int) -> str:
    from halo_forge.report.samples import all_cycles

    if total:
        return f"There are {total} such answers, none of them so far on."
    there = ", ".join(map(str, all_cycles(run, kind)))
    return f"No such answers. Cycles with judged answers: {there or 'none'}."


def _show_solved(run: Path, kind: Kind, wanted: Wanted, *, as_json: bool) -> None:
    from dataclasses import asdict

    from halo_forge.commands._output import echo_grid
    from halo_forge.report.prompts import movements, movements_grid
    from halo_forge.report.samples import read_answers

    answers = read_answers(run, kind, wanted.cycles or None)
    moved = movements(answer for answer in answers if wanted.takes(answer))
    if as_json:
        for one in moved:
            click.echo(json.dumps(asdict(one)))
    else:
        echo_grid(movements_grid(moved, "A prompt is solved by one answer that passes."))
