"""The settings of a configuration model, by dotted key."""

from __future__ import annotations

from functools import cache
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo

from halo_forge.config.base import Section

__all__ = ["default_of", "fields_of", "plain_type", "sections_of"]


def _section(info: FieldInfo) -> type[Section] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


@cache
def fields_of(model: type[Section]) -> dict[str, FieldInfo]:
    """Return every setting of ``model`` that is not itself a section, by dotted key."""
    found: dict[str, FieldInfo] = {}
    for name, info in model.model_fields.items():
        section = _section(info)
        if section is None:
            found[name] = info
        else:
            found |= {f"{name}.{key}": child for key, child in fields_of(section).items()}
    return found


@cache
def sections_of(model: type[Section]) -> dict[str, type[Section]]:
    """Return every section of ``model``, by dotted key."""
    found: dict[str, type[Section]] = {}
    for name, info in model.model_fields.items():
        section = _section(info)
        if section is not None:
            found[name] = section
            found |= {f"{name}.{key}": child for key, child in sections_of(section).items()}
    return found


def default_of(model: type[Section], key: str) -> Any:
    """Return the default of the setting ``key``.

    Raises:
        KeyError: If ``model`` has no setting ``key``.
    """
    value: Any = model()
    for name in key.split("."):
        if not isinstance(value, Section) or name not in type(value).model_fields:
            raise KeyError(key)
        value = getattr(value, name)
    return value


def plain_type(info: FieldInfo) -> Any:
    """Return the type of a setting without ``None`` and bounds: `int` of ``PositiveInt | None``."""
    options = [kind for kind in get_args(info.annotation) if kind is not NoneType]
    optional = NoneType in get_args(info.annotation) and len(options) == 1
    kind: Any = options[0] if optional else info.annotation
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind
