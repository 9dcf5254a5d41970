"""`halo-forge raft`: train a model on its own verified answers."""

from __future__ import annotations

from pathlib import Path

import click

from halo_forge.commands import _options
from halo_forge.commands._raft_flags import RAFT_FLAGS, REPLAY_FLAGS
from halo_forge.config.load import Resolved
from halo_forge.config.raft import RaftConfig
from halo_forge.config.study import StudyConfig
from halo_forge.core.errors import UserError
from halo_forge.store.run_dir import RunDir

__all__ = ["command"]


_NOT_OF_A_STUDY = {"raft.control", "stopping.on_degradation"}
_STUDY_FLAGS: dict[str | tuple[str, ...], str] = {
    "--arms": "arms",
    "--seeds": "seeds",
    **{names: key for names, key in RAFT_FLAGS.items() if key not in _NOT_OF_A_STUDY},
}


@click.group("raft")
def command() -> None:
    """Train a model on its own verified answers."""


@command.command("train")
@_options.config_files
@_options.settings(RaftConfig, RAFT_FLAGS)
@_options.assignments
@_options.fork
@_options.long_running
@click.pass_context
def train(
    ctx: click.Context,
    fork: Path | None,
    dry_run: bool,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Generate, verify, select and train, cycle by cycle.

    A run that was interrupted goes on when the same command is given again.

    \b
    Examples:
      halo-forge raft train --config configs/raft_example.yaml
      halo-forge raft train -c builtin:demo -o runs/mine --cycles 5
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._training import show_plan, train_and_show

    resolved = _options.resolve(ctx, RaftConfig)
    if dry_run:
        show_plan(resolved, as_json=as_json, fork=fork)
    else:
        display = _options.Display(progress, quiet=quiet, as_json=as_json)
        train_and_show(resolved.value, display, fork=fork)


@command.command("replay")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@_options.config_files
@_options.settings(
    RaftConfig,
    REPLAY_FLAGS,
    shown={**dict.fromkeys(REPLAY_FLAGS.values(), "as in RUN"), "output_dir": ""},
)
@_options.assignments
@_options.long_running
@click.pass_context
def replay(
    ctx: click.Context,
    run: Path,
    dry_run: bool,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Train with other settings on the judged answers of RUN, into a new run directory.

    All settings are those of RUN unless given. Nothing is generated but answers to held-out
    prompts. From cycle 2 on the answers are off-policy: the policy of RUN gave them.

    A replay that was interrupted goes on when the same command is given again.

    \b
    Examples:
      halo-forge raft replay models/raft --algorithm raft++ -o models/raftpp
      halo-forge raft replay models/raft --distinct --set eval_prompts=null -o models/distinct
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._training import show_plan, train_and_show
    from halo_forge.rlvr.replay import replayed

    config = RunDir(run).config_path
    if not config.is_file():
        raise UserError(f"{run}: not a run directory (there is no {config.name} in it)")
    resolved = _options.resolve(ctx, RaftConfig, files=[config])
    if resolved.sources["output_dir"].startswith(str(config)):
        raise UserError("a replay is a run of its own: say where it goes with --output DIR")
    for key in ("prompts", "eval_prompts"):
        if getattr(resolved.value, key) and not resolved.sources[key].startswith(str(config)):
            raise UserError(
                f"{key}: a replay has those of {run}; leave it out (--set eval_prompts=null "
                "measures nothing)"
            )
    value, _ = replayed(resolved.value.model_copy(update={"replay": str(run)}))
    if dry_run:
        show_plan(Resolved(value, resolved.sources), as_json=as_json)
    else:
        train_and_show(value, _options.Display(progress, quiet=quiet, as_json=as_json))


@command.command("study")
@_options.config_files
@_options.settings(StudyConfig, _STUDY_FLAGS)
@_options.assignments
@_options.long_running
@click.pass_context
def study(
    ctx: click.Context, dry_run: bool, as_json: bool, progress: str | None, quiet: bool
) -> None:
    """Run the loop with its verifier and without, and say how much of the gain is the verifier's.

    Each arm with each seed is a run of its own in --output. A study that was interrupted goes on
    when the same command is given again; what is done is not done twice.

    \b
    Examples:
      halo-forge raft study --config configs/study_cpu.yaml --output results/study
      halo-forge raft study -c configs/raft_cpu.yaml -o results/study --arms verified,shuffled
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._study import show_study, show_study_plan

    resolved = _options.resolve(ctx, StudyConfig)
    if dry_run:
        show_study_plan(resolved, as_json=as_json)
    else:
        show_study(resolved.value, _options.Display(progress, quiet=quiet, as_json=as_json))
