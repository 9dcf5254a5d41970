"""`halo-forge vlm`: models that see."""

from __future__ import annotations

import click

from halo_forge.commands import _vlm_data, _vlm_runs

__all__ = ["command"]


@click.group("vlm")
def command() -> None:
    """Models that see: questions about images."""


_COMMANDS = (
    _vlm_runs.train,
    _vlm_runs.sft,
    _vlm_runs.benchmark,
    _vlm_data.datasets,
    _vlm_data.scenes,
)
for _one in _COMMANDS:
    command.add_command(_one)
