"""Make training and prompts files, and look at them before a run spends hours on them."""

from __future__ import annotations

import click

from halo_forge.commands._data_generate import command as generate_command
from halo_forge.commands._data_sources import prepare_command, prompts_command
from halo_forge.commands._data_validate import validate

__all__ = ["command"]


@click.group("data")
def command() -> None:
    """Make training and prompts files, and look at them before a run spends hours on them."""


command.add_command(prepare_command)
command.add_command(prompts_command)
command.add_command(generate_command)
command.add_command(validate)
