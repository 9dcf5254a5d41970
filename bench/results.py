"""How a bench writes down what it found: claims, and where, when and by what they were measured."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from halo_forge.utils.hardware import describe

__all__ = ["write_result"]

_LIBRARIES = ("torch", "transformers", "trl", "xllamacpp")


def write_result(
    path: Path, claims: Sequence[Mapping[str, Any]], details: Mapping[str, Any]
) -> None:
    """Write a result that `tools/performance.py` reads.

    Args:
        path: The file.
        claims: Each has ``name``, ``value`` (a `measure.Spread` or a number), ``aim`` (a number
            that is to be reached, a range, or None), and may have ``roofline`` (a share, number or
            spread) and ``limit`` (a key of the notes in `tools/performance_notes.py`).
        details: Anything else worth keeping.
    """
    document = {
        "format": 1,
        "bench": Path(sys.argv[0]).stem,
        "command": shlex.join(["python", f"bench/{Path(sys.argv[0]).name}", *_told(sys.argv[1:])]),
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "claims": list(claims),
        "details": dict(details),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2, default=_plain)
    path.write_text(text + "\n", encoding="utf-8")


def _told(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without places of this machine: the result, a first run, folders."""
    kept, rest = [], iter(arguments)
    for one in rest:
        if one in ("--json", "--like"):
            next(rest, None)
        else:
            kept.append(Path(one).name if Path(one).is_absolute() else one)
    return kept


def _commit() -> str | None:
    asked = ("git", "describe", "--always", "--dirty", "--exclude=*")
    done = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, check=False)
    return done.stdout.decode().strip() or None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
