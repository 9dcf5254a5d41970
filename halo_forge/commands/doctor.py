"""`halo-forge doctor`: what this machine lacks, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from halo_forge.commands import _options
from halo_forge.core.errors import CheckFailed

if TYPE_CHECKING:
    from halo_forge.models.constants import Constants

__all__ = ["command"]


@click.command("doctor")
@click.option(
    "--bench", is_flag=True, help="Measure what halo-forge plan reckons with, and keep it."
)
@_options.json_output
@_options.verbose
def command(bench: bool, as_json: bool) -> None:
    """Check compilers, sandbox, memory, disk and torch; say how to mend what fails.

    With --bench also measure matrix products and reading of memory, for some seconds, on the
    device that training would use; best when nothing else runs.

    Exit code 0: all is well, advice apart; 1: a check failed.

    \b
    Example:
      halo-forge doctor --bench
    """  # noqa: D301 - click reads the \b
    from rich.console import Console

    from halo_forge.commands._machine import machine_facts
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.report.checks import check_machine, checks_grid

    with Console(stderr=True).status("trying the sandbox"):
        facts = machine_facts()
    checks = check_machine(facts, _torch_facts())
    found = _bench() if bench else []
    if as_json:
        echo_json({"checks": [asdict(one) for one in checks], "bench": [asdict(f) for f in found]})
    else:
        echo_grid(checks_grid(checks))
        for check in checks:
            if check.word == "advice":
                click.echo(f"\n{check.name}: {check.fix}")
        for one in found:
            products, reading = one.rates.flops / 1e9, one.rates.reading / 1e9
            click.echo(
                f"{one.device} {one.dtype}: products {products:.0f} GFLOP/s, "
                f"reading {reading:.1f} GB/s"
            )
    failed = [one for one in checks if not one.ok]
    if failed:
        raise CheckFailed("\n".join(f"{one.name}: {one.found}. {one.fix}" for one in failed))


def _torch_facts() -> dict[str, Any] | None:
    from halo_forge.utils.hardware import torch_facts

    try:
        return torch_facts()
    except ModuleNotFoundError:
        return None


def _bench() -> list[Constants]:
    """Measure in every type that the device computes in, and keep what was found."""
    try:
        from halo_forge.models.speed import bench_machine
    except ModuleNotFoundError as error:
        raise CheckFailed(f"--bench needs {error.name}: pip install 'halo-forge[train]'") from error
    return bench_machine()
