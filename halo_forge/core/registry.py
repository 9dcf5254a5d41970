"""The one plug-in door: names to objects through entry points, built-ins included."""

from __future__ import annotations

import difflib
import importlib
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from halo_forge.core.errors import UserError

__all__ = ["GROUPS", "load", "names"]

GROUPS = ("verifiers", "engines", "trackers", "datasets", "adapters")


def _points(group: str) -> dict[str, EntryPoint]:
    if group not in GROUPS:
        raise ValueError(f"no plug-in group {group!r}; there are {', '.join(GROUPS)}")
    return {point.name: point for point in entry_points(group=f"halo_forge.{group}")}


def names(group: str) -> list[str]:
    """Return the sorted names registered in ``group`` without importing any of them."""
    return sorted(_points(group))


def load(group: str, name: str) -> Any:
    """Import and return the object registered as ``name`` in ``group``.

    Args:
        group: One of `GROUPS`.
        name: A registered name, or ``module:Class`` for one that is not; its module is looked for
            in the working directory too.

    Raises:
        UserError: If the name is unknown (with the list and the nearest name) or if the
            plug-in needs a package that is not installed (with the package's name).
    """
    points = _points(group)
    if ":" in name:
        return _unregistered(group, name)
    if name not in points:
        near = difflib.get_close_matches(name, points, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UserError(
            f"unknown {group.removesuffix('s')} {name!r}.{hint} "
            f"Known: {', '.join(sorted(points)) or 'none'}."
        )
    try:
        return points[name].load()
    except ModuleNotFoundError as error:
        raise UserError(
            f"{group.removesuffix('s')} {name!r} needs the package {error.name!r}, which is not "
            "installed. Install it, or the extra: pip install 'halo-forge[train]'."
        ) from error


def _unregistered(group: str, name: str) -> Any:
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{group.removesuffix('s')} {name!r}: {error}") from error
