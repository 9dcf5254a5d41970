"""`halo-forge data`: look at prompts and training records before a run spends hours on them."""

from __future__ import annotations

import click

from halo_forge.commands._data_validate import validate

__all__ = ["command"]


@click.group("data")
def command() -> None:
    """Look at prompts and training records before a run spends hours on them."""


command.add_command(validate)
