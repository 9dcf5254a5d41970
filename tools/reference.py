"""`python -m tools.reference`: write docs/reference from the code; nothing there is typed by hand.

Commands come from the command line itself, settings from the configuration classes, messages from
the places that raise them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
import click
from pydantic.fields import FieldInfo

from halo_forge.config.base import Section
from halo_forge.config.data import ValidateConfig
from halo_forge.config.fields import fields_of, plain_type, sections_of
from halo_forge.config.full import FullConfig
from halo_forge.config.load import CONFIG_TYPES
from halo_forge.config.scenes import ScenesConfig
from halo_forge.config.verify import VerifyConfig
from tools.docs_rules import leaves
from tools.messages import messages
from tools.source_rules import Rule

__all__ = ["PAGES", "RULES", "main"]

_FOLDER = "docs/reference"
_WRITTEN = "Written by `python -m tools.reference` from the code; do not edit."
_KINDS: dict[str, tuple[type[Section], str]] = {
    "raft": (CONFIG_TYPES["raft"], "`raft train`, `raft replay`, `vlm train`, `demo` and `plan`"),
    "sft": (CONFIG_TYPES["sft"], "`sft train` and `vlm sft`"),
    "benchmark": (CONFIG_TYPES["benchmark"], "`benchmark run` and `benchmark eval`"),
    "generate": (CONFIG_TYPES["generate"], "`data generate`"),
    "full": (FullConfig, "`benchmark full`"),
    "study": (CONFIG_TYPES["study"], "`raft study`"),
    "scenes": (ScenesConfig, "`vlm scenes`"),
    "validate": (ValidateConfig, "`data validate`"),
    "verify": (VerifyConfig, "`verify run` and `verify audit`"),
}
_TYPES = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_BOUNDS: tuple[tuple[type, str, str], ...] = (
    (annotated_types.Ge, "ge", "at least"),
    (annotated_types.Gt, "gt", "above"),
    (annotated_types.Le, "le", "at most"),
    (annotated_types.Lt, "lt", "below"),
)


def commands(_root: Path) -> str:
    """Return the page of all commands with their options."""
    return "\n".join(_command_lines())


def _command_lines() -> Iterator[str]:
    yield f"# Commands\n\n{_WRITTEN}\n"
    yield (
        "Flags may be written with `-` or `_`; `-h` shows them. Exit codes: 0 done, 1 a check\n"
        "said no, 2 the input is wrong, 3 our fault or the machine's, 130 interrupted."
    )
    for name, command in leaves():
        context = click.Context(command, info_name=name, terminal_width=100)
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"\n## {name}\n\n```text\n{name} {usage}\n```\n"
        yield _prose(inspect.cleandoc(command.help or ""))
        # every command has --help; click shows it differently once a command was called
        records = [
            record
            for parameter in command.get_params(context)
            if (record := parameter.get_help_record(context)) and "--help" not in parameter.opts
        ]
        if records:
            yield "\n| Option | Meaning |\n|---|---|"
            yield from (f"| `{_cell(flag)}` | {_cell(text)} |" for flag, text in records)
    yield ""


def _prose(text: str) -> str:
    """Return a help text as Markdown: what click keeps as it stands becomes a block."""
    blocks = []
    for part in text.split("\n\n"):
        body = part.removeprefix("\b\n")
        if body == part:
            blocks.append(body.strip())
            continue
        title, _, rest = body.partition("\n")
        blocks.append(f"{title}\n\n```text\n{inspect.cleandoc(rest)}\n```" if rest else title)
    return "\n\n".join(blocks)


def settings(_root: Path) -> str:
    """Return the page of all settings."""
    return "\n".join(_setting_lines())


def _setting_lines() -> Iterator[str]:
    yield f"# Settings\n\n{_WRITTEN}\n"
    yield (
        "Keys of a YAML file, or of `--set KEY=VALUE`. Flags win over nested keys, these over "
        "other\nspellings, these over defaults; of several files the later wins. An unknown key is "
        "an error.\nWith * stands what may change when an interrupted run goes on; all else "
        "belongs to the run."
    )
    shown: dict[str, str] = {}
    for kind, (model, used) in _KINDS.items():
        yield f"\n## {kind}\n\nFor {used}. {_sentence(model)}\n"
        whole = model()
        own = [name for name in fields_of(model) if "." not in name]
        if own:
            yield from _table(model, own)
        for section in sections_of(model):
            value = _value(whole, section)
            keys = [k for k in fields_of(model) if k.rpartition(".")[0] == section]
            free = sorted(k.removeprefix(section) for k in model.free_keys() & set(keys))
            alike = f"{value!r} {free}"
            if alike in shown:
                yield f"\n**{section}**: as in [{shown[alike]}](#{shown[alike]})."
            elif keys:
                shown[alike] = f"{kind}-{section.replace('.', '')}"
                yield f"\n### {kind} {section}\n\n{_sentence(type(value))}\n"
                yield from _table(model, keys)
        twins = [f"`{name}` for `{key}`" for name, key in model.TWINS.items() if name != key]
        if twins:
            yield f"\n**Other spellings**: {', '.join(twins)}."
    yield ""


def _table(model: type[Section], keys: list[str]) -> Iterator[str]:
    yield "| Key | Type | Default | Meaning |\n|---|---|---|---|"
    whole = model()
    for key in keys:
        info = fields_of(model)[key]
        star = "*" if key in model.free_keys() else ""
        yield (
            f"| `{key}`{star} | {_type(info)} | {_default(_value(whole, key))} "
            f"| {_cell(info.description or '')} |"
        )


def _sentence(section: type[Section]) -> str:
    return " ".join((section.__doc__ or "").split())


def _value(whole: Section, key: str) -> Any:
    value: Any = whole
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _default(value: Any) -> str:
    if value is None or value == {}:
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value) or "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(info: FieldInfo) -> str:
    """Return type and range of a setting in words."""
    kind = plain_type(info)
    bounds = ", ".join(_bounds(info.annotation, list(info.metadata)))
    words = _words(kind)
    return f"{words}, {bounds}" if bounds and get_origin(kind) is not tuple else words


def _words(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Annotated:
        return _words(get_args(kind)[0])
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in get_args(kind))
    if origin is tuple:
        return f"list: {_words(get_args(kind)[0])}"
    if origin is dict:
        return "mapping"
    options = [one for one in get_args(kind) if one is not NoneType]
    return _TYPES.get(kind) or " or ".join(map(_words, options)) or str(kind)


def _bounds(kind: Any, metadata: list[Any]) -> Iterator[str]:
    for note in metadata:
        for bound, name, words in _BOUNDS:
            if isinstance(note, bound):
                yield f"{words} {getattr(note, name):g}"
        if isinstance(note, FieldInfo):
            yield from _bounds(None, list(note.metadata))
    if get_origin(kind) is Annotated:
        yield from _bounds(None, list(get_args(kind)[1:]))
    else:
        for one in get_args(kind):
            if get_origin(one) is Annotated:
                yield from _bounds(one, [])


def _cell(text: str) -> str:
    """Return a text as one cell of a table, with nothing in it that would end the cell."""
    return " ".join(text.split()).removesuffix(" [default: ]").replace("|", "\\|")


PAGES: dict[str, Callable[[Path], str]] = {
    f"{_FOLDER}/commands.md": commands,
    f"{_FOLDER}/config.md": settings,
    f"{_FOLDER}/errors.md": messages,
}
"""Each page, and what makes it out of a tree."""


def reference_is_current(root: Path) -> list[str]:
    """docs/reference is what the code makes."""
    return [
        f"{page}:1: not what the code makes; run python -m tools.reference"
        for page, make in PAGES.items()
        if not (root / page).is_file() or (root / page).read_text("utf-8") != make(root)
    ]


def main(root: Path) -> None:
    """Write the pages."""
    for page, make in PAGES.items():
        (root / page).parent.mkdir(parents=True, exist_ok=True)
        (root / page).write_text(make(root), encoding="utf-8")


RULES: tuple[Rule, ...] = (reference_is_current,)

if __name__ == "__main__":
    main(Path(__file__).parents[1])
