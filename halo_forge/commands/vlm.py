"""`halo-forge vlm`: models that see."""

from __future__ import annotations

import click

from halo_forge.commands import _vlm_data

__all__ = ["command"]


@click.group("vlm")
def command() -> None:
    """Models that see: questions about images."""


for _one in (_vlm_data.datasets, _vlm_data.scenes):
    command.add_command(_one)
