"""What a verdict depends on, as one name: equal names, equal verdicts.

A thing that cannot be named by its content (an open connection, a model) makes the whole nameless,
and what has no name is not remembered. So a subclass with settings of its own is safe without doing
anything for it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import halo_forge
from halo_forge.core.identity import content_id, digest
from halo_forge.rlvr.verifiers.workbench import Tool

__all__ = ["code_of", "tool_facts", "verdict_key"]

_ROOMS = ("rlvr/verifiers", "sandbox")
"""Parts of halo-forge whose code decides verdicts."""


def verdict_key(*parts: object) -> str | None:
    """Return the SHA-256 of ``parts`` by their content, or ``None`` if one has no such name.

    Values of different types differ, and so do values of the same fields in different classes.
    Fields that a dataclass declares with ``compare=False`` are left out.
    """
    try:
        return digest(_named(parts))
    except (TypeError, RecursionError):
        return None


@lru_cache(maxsize=64)
def tool_facts(tool: Tool) -> tuple[object, ...]:
    """Return a toolchain with what shows that its driver was replaced by another build."""
    states = [Path(path).stat() for path in (tool.driver, tool.runner) if path is not None]
    return (tool, *((state.st_size, state.st_mtime_ns) for state in states))


@lru_cache(maxsize=64)
def code_of(kind: type) -> str:
    """Return a name for the code by which ``kind`` judges: halo-forge's and its own modules'.

    Raises:
        TypeError: If a class comes from no file (one that was typed at a prompt).
    """
    root = Path(halo_forge.__file__).parent
    files = {file for room in _ROOMS for file in (root / room).rglob("*.py")}
    for one in kind.__mro__:
        if one.__module__ not in {"builtins", "abc", "typing"}:
            files.add(Path(inspect.getfile(one)))
    contents = [file.read_text("utf-8", "surrogateescape") for file in sorted(files)]
    return f"{halo_forge.__version__}:{kind.__module__}:{kind.__qualname__}:{content_id(contents)}"


def _named(value: object) -> Any:
    """Return ``value`` as JSON that says all there is to it; a list is tagged with its kind.

    Raises:
        TypeError: If that cannot be done.
    """
    if value is None or type(value) in {bool, int, float, str}:
        return value
    if is_dataclass(value) and not isinstance(value, type):
        shown = [
            [one.name, _named(getattr(value, one.name))] for one in fields(value) if one.compare
        ]
        return [_kind(value), *shown]
    if isinstance(value, Enum | bytes | PurePath | re.Pattern):
        return _named_thing(value)
    return _named_group(value)


def _named_thing(value: Enum | bytes | PurePath | re.Pattern[Any]) -> list[Any]:
    if isinstance(value, Enum):
        return [_kind(value), value.name]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    if isinstance(value, PurePath):
        return ["path", str(value)]
    return ["pattern", _named(value.pattern), value.flags]


def _named_group(value: object) -> list[Any]:
    if isinstance(value, Mapping):
        return ["mapping", *([_named(key), _named(item)] for key, item in value.items())]
    if isinstance(value, frozenset | set):
        return ["set", *sorted(map(_named, value), key=repr)]
    if isinstance(value, list | tuple) and type(value) in {list, tuple}:
        return [type(value).__name__, *map(_named, value)]
    raise TypeError(f"{type(value).__qualname__} has no name by content")


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
