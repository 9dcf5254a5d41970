"""What is wrong with a setting, in plain words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from halo_forge.config.base import Section
from halo_forge.config.fields import fields_of, sections_of

__all__ = ["explain", "shown"]

_LONGEST = 60
_WORDS = {
    "int": "must be a whole number",
    "float": "must be a number",
    "finite_number": "must be a finite number",
    "bool": "must be true or false",
    "string": "must be text",
    "tuple": "must be a list, such as [a, b]",
    "list": "must be a list, such as [a, b]",
    "dict": "must be a mapping of keys to values",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be above {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "less_than": "must be below {lt:g}",
    "literal_error": "must be one of {expected}",
    "missing": "is required",
}


def explain(model: type[Section], key: str, error: Mapping[str, Any]) -> str:
    """Say what pydantic found wrong with the setting ``key`` of ``model``.

    Args:
        model: The configuration that was validated.
        key: Dotted key as the user is to see it.
        error: One entry of `ValidationError.errors`.
    """
    kind = error["type"]
    if kind == "extra_forbidden":
        return f"unknown key{_suggestion(model, key)}"
    if kind in {"model_type", "model_attributes_type"}:
        section = sections_of(model)[key]
        keys = ", ".join(section.model_fields)
        return f"must be a section with the keys {keys}; got {shown(error['input'])}"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    words = _WORDS.get(kind) or _WORDS.get(kind.partition("_")[0])
    text = words.format(**error.get("ctx", {})) if words else error["msg"]
    return f"{text}, got {shown(error['input'])}"


def shown(value: Any) -> str:
    """Return ``value`` as its owner wrote it, shortened when long."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _suggestion(model: type[Section], key: str) -> str:
    """Name the nearest key: first in the same section, then of the same name elsewhere."""
    prefix, _, name = key.rpartition(".")
    known = [*fields_of(model), *sections_of(model)]
    siblings = [other.rpartition(".")[2] for other in known if other.rpartition(".")[0] == prefix]
    twins = [] if prefix else list(model.TWINS)
    near = difflib.get_close_matches(name, siblings + twins, n=1)
    if not near:
        near = [other for other in known if other.rpartition(".")[2] == name]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    where = f"{prefix} has" if prefix else "there are"
    return f"; {where} {', '.join(siblings)}" if siblings else ""
