"""Command-line options that borrow type, help and shown default from a configuration field.

An option that is not given leaves no trace, so that files and defaults keep their say; what is
given is collected by dotted key and folded in by `resolve`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from click.core import ParameterSource

from halo_forge.config.base import Section
from halo_forge.config.document import parse_value
from halo_forge.config.fields import default_of, fields_of, plain_type
from halo_forge.config.load import Resolved, load_config
from halo_forge.config.sections import HardwareSettings
from halo_forge.core.errors import ConfigError
from halo_forge.tracking.base import Observer
from halo_forge.utils.typing import override

__all__ = [
    "Display",
    "assignments",
    "config_files",
    "dry_run",
    "fork",
    "json_output",
    "long_running",
    "note",
    "progress",
    "quiet",
    "resolve",
    "setting",
    "settings",
    "verbose",
]

_GIVEN = "halo_forge.given"
_ASSIGNED = "halo_forge.assigned"
_FILES = "halo_forge.files"
_SCALARS: Mapping[Any, click.ParamType[Any]] = {
    int: click.INT,
    float: click.FLOAT,
    str: click.STRING,
}

ConfigT = TypeVar("ConfigT", bound=Section)
CommandT = TypeVar("CommandT", bound=Callable[..., Any])
_Decorator = Callable[[CommandT], CommandT]


class _CommaList(click.ParamType[list[str]]):
    """Values separated by commas: `1,5,10`."""

    name = "LIST"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Split; the configuration checks what the parts are."""
        del param, ctx
        return [part.strip() for part in str(value).split(",") if part.strip()]


def settings(
    model: type[Section],
    flags: Mapping[str | tuple[str, ...], str],
    preset: Path | None = None,
    shown: Mapping[str, str] | None = None,
) -> _Decorator[Any]:
    """Add one option for each flag of ``flags``, in their order.

    Args:
        model: The configuration that the settings belong to.
        flags: Names of a flag (``"--cycles"`` or ``("--model", "-m")``) and its dotted key. Of
            a truth value ``--no-x`` turns it off, ``--x/--no-x`` both ways, ``--x`` on.
        preset: File that the command lays under everything; its values are shown as defaults.
        shown: What to show as the default of a key where the command has none of the
            configuration's; ``""`` for nothing.
    """
    replaced: dict[str, str] = {}
    if preset is not None:
        under = load_config(model, [preset], {})
        keys = [key for key, source in under.sources.items() if source != "default"]
        replaced = {key: _default_text(_value(under.value, key)) for key in keys}
    replaced |= shown or {}

    def decorate(function: Any) -> Any:
        for names, key in reversed(list(flags.items())):
            spelled = [names] if isinstance(names, str) else names
            function = setting(model, key, *spelled, shown=replaced.get(key))(function)
        return function

    return decorate


def setting(
    model: type[Section], key: str, *names: str, shown: str | None = None
) -> _Decorator[Any]:
    """Add the option ``names`` for the setting ``key`` of ``model``.

    Args:
        model: The configuration that the setting belongs to.
        key: Its dotted key.
        names: The flag and its short form.
        shown: What to show as the default where the command does not take the configuration's;
            ``""`` for nothing.
    """
    info = fields_of(model)[key]
    default = default_of(model, key)
    described = (info.description or "").replace("\n", " ")

    def keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if ctx.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE:
            note(ctx, key, value, _spelled(names[0], value))

    kind: dict[str, Any]
    if plain_type(info) is bool:
        kind = {"is_flag": True} | ({} if "/" in names[0] else {"flag_value": _switch(names[0])})
    else:
        kind = {"type": _click_type(plain_type(info))}
        told = shown if shown is not None or default is None else _default_text(default)
        if told:
            # click puts a default given as text into brackets of its own.
            described += f"  [default: {told}]"
    return click.option(
        *names, key.replace(".", "__"), callback=keep, expose_value=False, help=described, **kind
    )


def note(ctx: click.Context, key: str, value: Any, spelled: str) -> None:
    """Keep what a flag gave for `resolve`.

    Args:
        ctx: The running command's context.
        key: Dotted key of the setting.
        value: What was given.
        spelled: The flag, for messages.
    """
    ctx.meta.setdefault(_GIVEN, {})[key] = (value, spelled)


def config_files(function: CommandT) -> CommandT:
    """Add --config."""

    def keep(ctx: click.Context, param: click.Parameter, value: Sequence[Path]) -> None:
        del param
        ctx.meta[_FILES] = tuple(value)

    return click.option(
        "--config",
        "-c",
        "files",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        callback=keep,
        expose_value=False,
        help="YAML file, or builtin:NAME; repeatable, a later file wins.",
    )(function)


def assignments(function: CommandT) -> CommandT:
    """Add --set."""

    def keep(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> None:
        for text in value:
            key, sign, word = text.partition("=")
            if not sign or not key:
                raise click.BadParameter(f"{text!r} is not KEY=VALUE", ctx, param)
            ctx.meta.setdefault(_ASSIGNED, {})[key.replace("-", "_")] = word

    return click.option(
        "--set",
        "assigned",
        multiple=True,
        metavar="KEY=VALUE",
        callback=keep,
        expose_value=False,
        help="Any setting by its dotted key, such as hardware.device=cpu; repeatable.",
    )(function)


def resolve(
    ctx: click.Context, model: type[ConfigT], *, files: Sequence[Path] = ()
) -> Resolved[ConfigT]:
    """Return the configuration that files and flags of this call make.

    Args:
        ctx: The running command's context.
        model: The configuration.
        files: Files that lie under those of ``--config``.

    Raises:
        ConfigError: With every problem of files and flags.
    """
    given: dict[str, tuple[Any, str]] = ctx.meta.get(_GIVEN, {})
    assigned: dict[str, str] = ctx.meta.get(_ASSIGNED, {})
    twice = [
        f"--set {key}: {given[known][1]} sets it too; keep one of them"
        for key in assigned
        if (known := model.TWINS.get(key, key)) in given
    ]
    if twice:
        raise ConfigError(twice)
    flags = {key: value for key, (value, _) in given.items()}
    names = {key: name for key, (_, name) in given.items()}
    flags |= {key: _read(model, key, text) for key, text in assigned.items()}
    names |= {key: f"--set {key}" for key in assigned}
    resolved = load_config(model, [*files, *ctx.meta.get(_FILES, ())], flags, names)
    if isinstance(hardware := getattr(resolved.value, "hardware", None), HardwareSettings):
        from halo_forge.models.profile import prepare

        prepare(hardware)  # before whoever imports torch
    return resolved


@dataclass(frozen=True, slots=True)
class Display:
    """How a long command shows what it does, as its flags say."""

    progress: str | None
    quiet: bool
    as_json: bool

    def observer(self) -> Observer:
        """Return the observer that these flags and the terminal ask for."""
        from halo_forge.tracking.console import make_observer

        return make_observer(self.progress, self.quiet)


json_output = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
dry_run = click.option(
    "--dry-run", is_flag=True, help="Show what would be done with which settings, and stop."
)
fork = click.option(
    "--fork",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Go on from the run in --output with other settings, in a new run directory.",
)
quiet = click.option("--quiet", "-q", is_flag=True, help="No progress, errors only.")
verbose = click.option(
    "--verbose", "-v", is_flag=True, expose_value=False, help="Show tracebacks of our own errors."
)
progress = click.option(
    "--progress",
    type=click.Choice(["auto", "rich", "plain", "none"]),
    help="Live display, plain lines, or nothing; auto (when not given) looks at the terminal.",
)


def long_running(function: CommandT) -> CommandT:
    """Add what every command that takes its time has: --dry-run, --json, how it is shown."""
    return dry_run(json_output(progress(quiet(verbose(function)))))


def _read(model: type[Section], key: str, text: str) -> Any:
    """Read the text of --set; text settings take it as it is, all others as YAML."""
    info = fields_of(model).get(model.TWINS.get(key, key))
    is_text = info is not None and plain_type(info) is str
    return text if is_text and text != "null" else parse_value(text, f"--set {key}")


def _spelled(name: str, value: Any) -> str:
    """Name the flag that was given: the second half of `--x/--no-x` when it is off."""
    on, _, off = name.partition("/")
    return off if off and value is False else on


def _switch(name: str) -> bool:
    return not name.startswith("--no-")


def _click_type(kind: Any) -> click.ParamType[Any]:
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    return _CommaList() if get_origin(kind) is tuple else _SCALARS[kind]


def _value(config: Section, key: str) -> Any:
    return functools.reduce(getattr, key.split("."), config)


def _default_text(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default)
