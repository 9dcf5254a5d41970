"""Results on stdout: a table for people, one JSON document for programs."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import click
import orjson

from halo_forge.report.grid import Grid, rendered

__all__ = ["echo_grid", "echo_json"]

# Wide enough that a table in a file is not folded.
_UNLIMITED = 240


def echo_grid(grid: Grid) -> None:
    """Print a table as wide as the terminal, or unfolded into a file or pipe."""
    terminal = sys.stdout.isatty()
    click.echo(rendered(grid, shutil.get_terminal_size().columns if terminal else _UNLIMITED))


def echo_json(document: Any) -> None:
    """Print one JSON document."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
