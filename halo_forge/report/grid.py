"""Tables of text: what they hold, and how they are drawn."""

from __future__ import annotations

import io
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from halo_forge.utils.text import printable

__all__ = ["Grid", "rendered"]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table before it is drawn: texts only, the first column to the left."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    wide: bool = False


def rendered(grid: Grid, width: int) -> str:
    """Return ``grid`` as lines of at most ``width`` characters; cells wrap, never markup."""
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(grid.header):
        numeric = number > 0 and not grid.wide
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(table)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    return "\n".join([printable(grid.title), *lines] if grid.title else lines)
