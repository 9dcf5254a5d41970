"""`halo-forge data generate`: tasks from an LLM, kept only when they prove themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from halo_forge.commands import _options
from halo_forge.config.generate import BACKENDS, GenerateConfig, TopicConfig
from halo_forge.config.load import Resolved
from halo_forge.core.errors import CheckFailed, UserError
from halo_forge.utils.text import printable

if TYPE_CHECKING:
    from halo_forge.data.llm.estimates import Estimate
    from halo_forge.data.llm_generate import Judge, Summary

__all__ = ["command"]

_FLAGS: dict[str | tuple[str, ...], str] = {
    ("--model", "-m"): "model",
    ("--output", "-o"): "output_dir",
    "--count": "count",
    "--base-url": "generation.server.base_url",
    "--protocol": "protocol",
    "--api-key-env": "generation.server.api_key_env",
    "--concurrency": "generation.server.concurrency",
    "--temperature": "generation.temperature",
    "--max-new-tokens": "generation.max_new_tokens",
    "--structured": "generation.structured",
    "--max-requests": "budget.max_requests",
    "--max-tokens": "budget.max_tokens",
    "--input-price": "price.input",
    "--output-price": "price.output",
    "--seed": "seed",
    "--require-sandbox": "verifier.require_sandbox",
    "--unsafe-no-sandbox": "verifier.unsafe_no_sandbox",
}
_PRESET = "builtin:generate-"
_NOT_THE_JUDGES = {"max_workers", "require_sandbox"}


@click.command("generate")
@click.option("--topic", "-t", metavar="NAME|FILE", help="A shipped topic, or a YAML file.")
@click.option(
    "--backend",
    "-b",
    type=click.Choice(BACKENDS),
    help="Settings of a known service; --base-url asks any other.",
)
@click.option("--list", "list_topics", is_flag=True, help="List the shipped topics.")
@click.option("--show", metavar="NAME", help="Print a shipped topic, to copy and change.")
@_options.config_files
@_options.settings(GenerateConfig, _FLAGS)
@_options.assignments
@_options.long_running
@click.pass_context
def command(
    ctx: click.Context,
    topic: str | None,
    backend: str | None,
    list_topics: bool,
    show: str | None,
    dry_run: bool,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Ask an LLM for tasks with solutions and tests, and keep what proves itself.

    A solution must pass its own tests, each time, and programs that do nothing must not. What
    stands is written to training.jsonl and prompts.jsonl, everything else to rejects.jsonl with
    the reason. An interrupted run goes on when the same command is given again, and asks nothing
    twice. Keys are read from the environment variable that the backend or --api-key-env names.

    \b
    Examples:
      halo-forge data generate --list
      halo-forge data generate --show cpp_algorithms
      halo-forge data generate -t cpp_algorithms -b deepseek -m deepseek-chat --dry-run
      halo-forge data generate -t mine.yaml --base-url http://127.0.0.1:8080/v1 -m NAME
    """  # noqa: D301 - click reads the \b
    if list_topics:
        _list(as_json=as_json)
        return
    if show is not None:
        from halo_forge.data.llm.topics import topic_text

        click.echo(topic_text(show), nl=False)
        return
    if topic is None:
        raise UserError("which topic? Name one with --topic; --list shows the shipped ones.")
    from halo_forge.data.llm.topics import load_topic

    chosen = load_topic(topic)
    files = [Path(f"{_PRESET}{backend}")] if backend else []
    resolved = _options.resolve(ctx, GenerateConfig, files=files)
    _refuse_stray_key(resolved)
    if dry_run:
        _show_estimate(chosen, resolved, as_json=as_json)
        return
    display = _options.Display(progress, quiet=quiet, as_json=as_json)
    summary = _generate(chosen, resolved.value, display)
    _show(summary, as_json=as_json, quiet=quiet)


def _generate(topic: TopicConfig, config: GenerateConfig, display: _options.Display) -> Summary:
    from halo_forge.data.llm_generate import generate

    observer = display.observer()
    try:
        return generate(topic, config, _judging(topic, config), observer)
    except KeyboardInterrupt:
        observer.message("What was answered is kept; the same command goes on from there")
        raise


@contextmanager
def _judging(topic: TopicConfig, config: GenerateConfig) -> Iterator[Judge]:
    """Yield the judge of a topic, tried and ready."""
    from halo_forge.core.identity import content_id
    from halo_forge.core.types import Message, Prompt
    from halo_forge.data.llm_generate import Judge
    from halo_forge.rlvr.judges import make_verifier
    from halo_forge.rlvr.verifiers.batch import judge_all

    limits = config.verifier.model_dump(mode="json", exclude=_NOT_THE_JUDGES)
    with make_verifier(config.verifier.of_type(topic.verifier)) as verifier:
        verifier.start([Prompt("any", (Message("user", "Any."),), language=topic.language)])
        with verifier.afresh():  # a solution is run again, not remembered
            name = f"{verifier.fingerprint()} {content_id(limits)}"
            yield Judge(partial(judge_all, verifier), name)


def _refuse_stray_key(resolved: Resolved[GenerateConfig]) -> None:
    """Refuse to send a service's key to another address than the service's.

    Raises:
        UserError: If the address was given, and the key was not.
    """
    sources = resolved.sources
    address, key = (sources[f"generation.server.{name}"] for name in ("base_url", "api_key_env"))
    if key.startswith(_PRESET) and not address.startswith(_PRESET):
        raise UserError(
            f"{resolved.value.generation.server.api_key_env} would go to "
            f"{resolved.value.generation.server.base_url}, which is not the backend's address. "
            "Leave --backend out, or name the key for that address with --api-key-env."
        )


def _list(*, as_json: bool) -> None:
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.data.llm.topics import load_topic, shipped_topics
    from halo_forge.report.grid import Grid

    topics = [load_topic(name) for name in shipped_topics()]
    if as_json:
        echo_json([topic.model_dump(mode="json") for topic in topics])
        return
    rows = [
        (
            topic.name,
            topic.language,
            topic.verifier,
            ", ".join(topic.categories),
            ",".join(map(str, sorted(topic.difficulties))),
            str(len(topic.categories) * len(topic.difficulties) * topic.count),
        )
        for topic in topics
    ]
    header = ("topic", "language", "judged by", "categories", "difficulties", "requests")
    echo_grid(Grid(header, tuple(rows), wide=True))


def _show_estimate(
    topic: TopicConfig, resolved: Resolved[GenerateConfig], *, as_json: bool
) -> None:
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.config.base import flatten
    from halo_forge.data.llm.estimates import estimate
    from halo_forge.report.tables import settings_grid

    config = resolved.value
    found = estimate(topic, config)
    settings = config.model_dump(mode="json")
    if as_json:
        sources = dict(resolved.sources)
        echo_json({"config": settings, "sources": sources, "estimate": asdict(found)})
        return
    echo_grid(settings_grid(flatten(settings), resolved.sources))
    click.echo()
    for line in _estimate_lines(topic, found):
        click.echo(line)


def _estimate_lines(topic: TopicConfig, found: Estimate) -> list[str]:
    basis = "as the answers on disk were" if found.measured else "a guess, nothing was measured yet"
    read, written = found.likely_tokens
    most_read, most_written = found.most_tokens
    lines = [
        f"{topic.name}: {found.requests} requests, {found.answered} answered, "
        f"{found.allowed} to send within the budget",
        f"Tokens likely: {read:,} read, {written:,} written ({basis})",
        f"Tokens at most: {most_read:,} read, {most_written:,} written",
    ]
    if found.likely_cost is None or found.most_cost is None:
        return [*lines, "Cost: give --input-price and --output-price, for a million tokens each"]
    return [*lines, f"Cost: likely {found.likely_cost:.2f}, at most {found.most_cost:.2f}"]


def _show(summary: Summary, *, as_json: bool, quiet: bool) -> None:
    """Print what came of it.

    Raises:
        CheckFailed: If no item was written.
    """
    from halo_forge.commands._output import echo_json

    if as_json:
        echo_json({**asdict(summary), "folder": str(summary.folder)})
    elif not quiet:
        for line in _summary_lines(summary):
            click.echo(printable(line))
    if not summary.answered:
        raise CheckFailed("the budget lets no request through: see --max-requests, --max-tokens")
    if not summary.verified:
        raise CheckFailed(
            f"none of {summary.answered} answers stood the checks; rejects.jsonl says why"
        )


def _summary_lines(summary: Summary) -> list[str]:
    spent = summary.spent
    cost = "" if summary.cost is None else f", cost {summary.cost:.2f}"
    lines = [
        f"{summary.answered} of {summary.requests} requests answered, "
        f"{summary.verified} items verified",
        f"Tokens: {spent.read:,} read, {spent.written:,} written{cost}",
    ]
    if summary.rejects:
        told = ", ".join(f"{count} {reason}" for reason, count in summary.rejects.items())
        lines.append(f"Rejected: {told}")
    if summary.out_of_budget:
        lines.append("The budget is used up; a larger one goes on from here.")
    return [*lines, f"Files: {summary.folder}"]
