"""`halo-forge data validate`: every finding about a data file, and a clean copy on request."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from halo_forge.commands import _options
from halo_forge.commands._output import echo_grid, echo_json
from halo_forge.config.data import ValidateConfig
from halo_forge.core.errors import CheckFailed, UserError
from halo_forge.report.grid import Grid
from halo_forge.utils.text import printable

if TYPE_CHECKING:
    from halo_forge.data.findings import Kind, Report
    from halo_forge.data.gold import Judge
    from halo_forge.data.validate import Tools

__all__ = ["validate"]

_FLAGS: dict[str | tuple[str, ...], str] = {
    "--tokenizer": "tokenizer",
    "--max-tokens": "max_tokens",
    "--near": "near",
    "--seed": "seed",
}


@click.command("validate")
@click.argument("file")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["prompts", "training"]),
    help="What FILE holds; told by its first lines when not given.",
)
@click.option("--gold", is_flag=True, help="Run each reference solution: it must score 1.0.")
@click.option(
    "--against",
    multiple=True,
    metavar="BENCHMARK",
    help="A benchmark that FILE must not hold: a file, or a data set's NAME; repeatable.",
)
@click.option("--mark", is_flag=True, help="Keep what overlaps with --against, and note it.")
@click.option(
    "--write",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="CLEAN",
    help="Write the lines without an error to this file.",
)
@click.option(
    "--preview", "-p", type=click.IntRange(min=1), metavar="N", help="Show the first N records."
)
@_options.settings(ValidateConfig, _FLAGS)
@_options.config_files
@_options.assignments
@_options.json_output
@_options.progress
@_options.quiet
@_options.verbose
@click.pass_context
def validate(
    ctx: click.Context,
    file: str,
    kind: Kind | None,
    gold: bool,
    against: Sequence[str],
    mark: bool,
    write: Path | None,
    preview: int | None,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Check the prompts or training records in FILE, or in builtin:LANGUAGE/SPLIT.

    Every bad line is reported with its number, and so are records that repeat others, exactly or
    nearly, code that is empty, cut off or in another language than it says, tests that can tell
    little, and tasks of the benchmarks given with --against. Exit code 0: no errors, warnings at
    most; 1: errors; 2: FILE cannot be read.

    \b
    Examples:
      halo-forge data validate prompts.jsonl --against builtin:cpp/heldout --gold
      halo-forge data validate train.jsonl --tokenizer builtin:smollm2-135m --max-tokens 2048
      halo-forge data validate train.jsonl --against HumanEvalPlus.jsonl.gz --write clean.jsonl
    """  # noqa: D301 - click reads the \b
    from halo_forge.data.validate import validate as check

    config = _with_benchmarks(_options.resolve(ctx, ValidateConfig).value, against, mark=mark)
    if write is not None and Path(file).exists() and write.resolve() == Path(file).resolve():
        raise UserError(f"--write {write}: is FILE itself; name another file")
    unseen = progress is None and not sys.stderr.isatty()
    observer = _options.Display(progress, quiet=quiet or unseen, as_json=as_json).observer()
    with (
        observer.stage("validate", _lines_in(file), unit="lines") as stage,
        _judge(gold=gold) as judge,
    ):
        report = check(file, config, _tools(config, judge, stage.advance), kind, write)
    shown = list(_first(file, report.kind, preview or 0))
    if as_json:
        echo_json(_document(report, shown, write))
    else:
        _print_preview(shown)
        _print_findings(report)
    if not (as_json or quiet):
        _print_summary(file, report, write)
    if report.errors:
        raise CheckFailed(f"{file}: {_counted(report.errors, 'error')} to put right")


def _with_benchmarks(
    config: ValidateConfig, against: Sequence[str], *, mark: bool
) -> ValidateConfig:
    """Return the settings with what --against and --mark say."""
    changes: dict[str, Any] = {"against": tuple(against)} if against else {}
    if mark:
        changes["action"] = "mark"
    changed = config.decontaminate.model_copy(update=changes)
    if mark and not changed.against:
        raise UserError("--mark needs the benchmarks to compare with: --against FILE")
    return config.model_copy(update={"decontaminate": changed})


@contextmanager
def _judge(*, gold: bool) -> Iterator[Judge | None]:
    if not gold:
        yield None
        return
    from halo_forge.commands._gold import gold_judge

    with gold_judge() as judge:
        yield judge


def _lines_in(file: str) -> int | None:
    """Return how many records a file has, for the time that is left, if that is cheap to know."""
    from halo_forge.data.rows import count_rows

    path = Path(file)
    return count_rows(path) if path.is_file() else None


def _tools(config: ValidateConfig, judge: Judge | None, advance: Callable[[int], None]) -> Tools:
    from halo_forge.data.validate import Tools

    if config.tokenizer is None:
        if config.max_tokens is not None:
            raise UserError("--max-tokens needs to know whose tokens: --tokenizer MODEL")
        return Tools(judge=judge, advance=advance)
    from halo_forge.models.lengths import TokenCounter

    return Tools(TokenCounter(config.tokenizer).count, judge, advance)


def _first(file: str, kind: Kind, number: int) -> Iterator[dict[str, Any]]:
    """Yield the first records, each as its messages or its text."""
    from halo_forge.data.shapes import read_records, record_of

    records = (record_of(line, row, kind) for line, row in read_records(file))
    for record in islice((one for one in records if one is not None), number):
        said: dict[str, Any] = {"line": record.line, "id": record.id}
        if record.text is not None:
            said["text"] = record.text
        else:
            said["messages"] = [
                {"role": turn.role, "content": turn.content} for turn in record.messages
            ]
        if record.prompt is not None:
            reference = record.prompt.reference
            said["tests"] = "code" if reference.test_code else len(reference.tests)
            said["hidden_tests"] = len(reference.hidden_tests)
        yield said


def _document(
    report: Report, shown: Sequence[dict[str, Any]], write: Path | None
) -> dict[str, Any]:
    return {
        **dataclasses.asdict(report),
        "errors": report.errors,
        "warnings": report.warnings,
        "written": None if write is None else str(write),
        "preview": shown,
    }


def _print_preview(shown: Sequence[dict[str, Any]]) -> None:
    for record in shown:
        traits = [f"line {record['line']}"]
        if "tests" in record:
            code = record["tests"] == "code"
            tests = f"{record['tests']} tests, {record['hidden_tests']} hidden"
            traits.append("test code" if code else tests)
        click.echo(printable(f"== {record['id'] or 'record'} ({', '.join(traits)})"))
        if "text" in record:
            click.echo(printable(record["text"]))
        for message in record.get("messages", ()):
            click.echo(f"[{message['role']}] {printable(message['content'])}")
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


def _print_summary(file: str, report: Report, write: Path | None) -> None:
    noun = "prompt" if report.kind == "prompts" else "training record"
    counts = (report.records, noun), (report.errors, "error"), (report.warnings, "warning")
    forms = ", ".join(f"{count} {form}" for form, count in report.formats.items())
    if report.kind == "training" and forms:
        click.echo(f"form:    {forms}")
    if report.lengths is not None:
        one = report.lengths
        click.echo(
            f"tokens:  {one.least} to {one.most}, median {one.median:g}, 95 % within {one.p95:g}, "
            f"{one.total} in all ({one.tokenizer})"
        )
    if report.decontamination is not None:
        tasks = sum(each["tasks"] for each in report.decontamination["against"])
        hit = report.decontamination["overlapping"]
        click.echo(f"overlap: {_counted(hit, 'record')} with {_counted(tasks, 'benchmark task')}")
    if write is not None:
        click.echo(f"written: {printable(str(write))}")
    click.echo(f"{file}: {', '.join(_counted(number, noun) for number, noun in counts)}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
