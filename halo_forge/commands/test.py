"""`halo-forge test`: try this set-up, from the compiler to training that must help."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from halo_forge.commands import _options
from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import CheckFailed

if TYPE_CHECKING:
    from halo_forge.selftest import Level, Outcome

__all__ = ["command"]

_LEVELS = ("smoke", "standard", "full")
_RULE = "=" * 60


@click.command("test")
@click.option(
    "--level", "-l", type=click.Choice(_LEVELS), help="How far to go.  [default: standard]"
)
@_options.setting(RaftConfig, "model.name", "--model", "-m")
@_options.json_output
@_options.progress
@_options.quiet
@click.option(
    "--verbose", "-v", is_flag=True, help="Show what each check found, and our own tracebacks."
)
@click.pass_context
def command(
    ctx: click.Context,
    level: Level | None,
    as_json: bool,
    progress: str | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Try this set-up, from the compiler to training that must help.

    smoke: imports, compiler, verifiers; seconds, without torch. standard: also loads the model,
    generates and verifies. full: also runs one cycle of RAFT on tiny tasks and asserts that the
    pass rate on held-out ones rose; minutes on a CPU.

    Exit code 0: every check passed; 1: one failed.

    \b
    Examples:
      halo-forge test --level smoke
      halo-forge test --level full --verbose
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._output import echo_json
    from halo_forge.selftest import run_checks

    chosen: Level = level or "standard"
    config = _options.resolve(ctx, RaftConfig).value
    model = None if chosen == "smoke" else config.model.name

    def tell(outcome: Outcome) -> None:
        if not as_json:
            _show(outcome, found=verbose or chosen == "full")

    if not as_json:
        click.echo(f"{_RULE}\nhalo-forge {chosen.title()} Test")
        if model:
            click.echo(f"Model: {model}")
        click.echo(f"{_RULE}\n")
    observer = _options.Display(progress, quiet=quiet, as_json=as_json).observer()
    outcomes = run_checks(chosen, model, observer, tell)
    passed = sum(one.ok for one in outcomes)
    if as_json:
        echo_json({"level": chosen, "model": model, **_counts(outcomes)})
    else:
        click.echo(f"\n{_RULE}\nTest Results: {passed}/{len(outcomes)} passed\n{_RULE}")
    if passed < len(outcomes):
        raise CheckFailed("; ".join(one.name for one in outcomes if not one.ok) + " failed")


def _show(outcome: Outcome, *, found: bool) -> None:
    from halo_forge.utils.text import printable

    mark = "OK" if outcome.ok else "FAIL"
    click.echo(f"  [{mark}] {outcome.name} ({outcome.seconds:.1f}s)")
    if found or not outcome.ok:
        click.echo(f"       {printable(outcome.found)}")


def _counts(outcomes: list[Outcome]) -> dict[str, Any]:
    return {
        "checks": [asdict(one) for one in outcomes],
        "passed": sum(one.ok for one in outcomes),
        "total": len(outcomes),
    }
