"""Make training and prompts files, and look at them before a run spends hours on them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from halo_forge.commands._data_sources import prepare_command, prompts_command
from halo_forge.commands._options import json_output, quiet, verbose
from halo_forge.commands._output import echo_grid, echo_json
from halo_forge.core import registry
from halo_forge.core.errors import CheckFailed
from halo_forge.core.types import Prompt, Sample, Verdict
from halo_forge.data.formats import prompt_record
from halo_forge.data.prompts import scan_prompts
from halo_forge.data.validate import Report, check_gold, check_overlap, check_prompts
from halo_forge.report.grid import Grid
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.utils.text import printable

__all__ = ["command"]


@click.group("data")
def command() -> None:
    """Make training and prompts files, and look at them before a run spends hours on them."""


command.add_command(prepare_command)
command.add_command(prompts_command)


@command.command("validate")
@click.argument("file")
@click.option("--against", metavar="FILE", help="Report prompts that this file has as well.")
@click.option("--gold", is_flag=True, help="Run each reference solution: it must score 1.0.")
@click.option(
    "--preview", "-p", type=click.IntRange(min=1), metavar="N", help="Show the first N prompts."
)
@json_output
@quiet
@verbose
def validate(
    file: str, against: str | None, gold: bool, preview: int | None, as_json: bool, quiet: bool
) -> None:
    """Check the prompts in FILE, a JSONL file or builtin:LANGUAGE/SPLIT.

    Every bad line is reported with its number, and so are repeated and nearly repeated prompts
    and tests that can tell little. Exit code 0: no errors, warnings at most; 1: errors; 2: FILE
    cannot be read.

    \b
    Example:
      halo-forge data validate prompts.jsonl --against builtin:cpp/heldout --gold
    """  # noqa: D301 - click reads the \b
    scan = scan_prompts(file)
    report = check_prompts(scan)
    if against is not None:
        report = report.joined(check_overlap(scan, scan_prompts(against)))
    if gold:
        report = report.joined(check_gold(scan, lambda samples: _judge(samples, quiet=quiet)))
    shown = [entry.prompt for entry in scan.entries[: preview or 0]]
    if as_json:
        echo_json(_document(report, shown))
    else:
        _print_preview(shown)
        _print_findings(report)
    if not (as_json or quiet):
        click.echo(f"{file}: {_summary(report)}")
    if report.errors:
        raise CheckFailed(f"{file}: {_counted(report.errors, 'error')} to put right")


def _judge(samples: Sequence[Sample], *, quiet: bool) -> Iterator[Verdict]:
    """Run answers against their prompts' tests, in the sandbox and with default limits."""
    with registry.load("verifiers", "execution")() as verifier:
        verifier.start([sample.prompt for sample in samples])
        yield from track(
            judge_all(verifier, samples),
            description="gold check",
            total=len(samples),
            console=Console(stderr=True),
            transient=True,
            disable=quiet or not sys.stderr.isatty(),
        )


def _document(report: Report, prompts: Sequence[Prompt]) -> dict[str, Any]:
    return {
        "source": report.source,
        "prompts": report.prompts,
        "errors": report.errors,
        "warnings": report.warnings,
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "preview": [prompt_record(prompt) for prompt in prompts],
    }


def _print_preview(prompts: Sequence[Prompt]) -> None:
    for prompt in prompts:
        reference = prompt.reference
        tests = f"{len(reference.tests)} tests, {len(reference.hidden_tests)} hidden"
        traits = [prompt.language, prompt.category, "test code" if reference.test_code else tests]
        click.echo(f"== {prompt.id} ({', '.join(trait for trait in traits if trait)})")
        for message in prompt.messages:
            click.echo(f"[{message.role}] {printable(message.content)}")
        click.echo()


def _print_findings(report: Report) -> None:
    """Print a table on a terminal, and else one line a finding in the manner of a compiler."""
    if report.findings and sys.stdout.isatty():
        header = ("line", "level", "finding", "check", "id")
        rows = [
            (str(item.line or ""), item.level, item.message, item.rule, item.id or "")
            for item in report.findings
        ]
        echo_grid(Grid(header, tuple(rows), title=report.source, wide=True))
        return
    for item in report.findings:
        where = f"{report.source}:{item.line}" if item.line else report.source
        name = f"{item.id}: " if item.id else ""
        click.echo(printable(f"{where}: {item.level}: {name}{item.message} [{item.rule}]"))


def _summary(report: Report) -> str:
    counts = (report.prompts, "prompt"), (report.errors, "error"), (report.warnings, "warning")
    return ", ".join(_counted(number, noun) for number, noun in counts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
