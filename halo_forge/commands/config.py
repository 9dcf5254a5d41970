"""`halo-forge config`: check a configuration, see what it means."""

from __future__ import annotations

from pathlib import Path

import click

from halo_forge.commands import _options
from halo_forge.config.base import Section, flatten
from halo_forge.config.document import read_yaml
from halo_forge.config.load import CONFIG_TYPES, detect_type, load_config, located
from halo_forge.core.errors import ConfigError
from halo_forge.utils.text import printable

__all__ = ["command"]

_AUTO = "auto"
_KIND = click.option(
    "--type",
    "kind",
    type=click.Choice([*CONFIG_TYPES, _AUTO]),
    help="Kind of configuration; auto (when not given) tells by the keys.",
)
_FILE = click.Path(path_type=Path)


@click.group("config")
def command() -> None:
    """Check a configuration, see what it means."""


@command.command("validate")
@click.argument("file", type=_FILE)
@_KIND
@_options.json_output
@_options.verbose
def validate(file: Path, kind: str | None, as_json: bool) -> None:
    """Check FILE and report every problem with its line.

    Exit code 0: valid; 2: not.
    """
    name = _kind_of(file, kind)
    resolved = load_config(CONFIG_TYPES[name], [file], {})
    given = sum(source != "default" for source in resolved.sources.values())
    if as_json:
        from halo_forge.commands._output import echo_json

        echo_json({"file": str(file), "type": name, "valid": True, "given": given})
    else:
        click.echo(f"{printable(str(file))}: valid {name} configuration, {given} settings given")


@command.command("show")
@click.argument("file", type=_FILE, required=False)
@_KIND
@_options.assignments
@_options.json_output
@_options.verbose
@click.pass_context
def show(ctx: click.Context, file: Path | None, kind: str | None, as_json: bool) -> None:
    """Print every setting with its value and where it comes from.

    \b
    Example:
      halo-forge config show configs/raft_example.yaml --set raft.num_cycles=3
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.report.tables import settings_grid

    name = _kind_of(file, kind) if file else kind or next(iter(CONFIG_TYPES))
    model: type[Section] = CONFIG_TYPES[name]
    resolved = _options.resolve(ctx, model, files=[file] if file else [])
    values = resolved.value.model_dump(mode="json")
    if as_json:
        echo_json({"type": name, "config": values, "sources": dict(resolved.sources)})
    else:
        echo_grid(settings_grid(flatten(values), resolved.sources))


def _kind_of(file: Path, kind: str | None) -> str:
    """Return the kind that was asked for, or the one whose keys the file has.

    Raises:
        ConfigError: If nothing in the file can be read.
        UserError: If its keys do not tell.
    """
    if kind not in {None, _AUTO}:
        return str(kind)
    document = read_yaml(located(file))
    if document.problems and not document.keys:
        raise ConfigError(document.problems)
    return detect_type(dict.fromkeys(document.keys))
