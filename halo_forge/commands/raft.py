"""`halo-forge raft`: train a model on its own verified answers."""

from __future__ import annotations

from pathlib import Path

import click

from halo_forge.commands import _options
from halo_forge.config.raft import RaftConfig

__all__ = ["command"]

_FLAGS: dict[str | tuple[str, ...], str] = {
    ("--model", "-m"): "model.name",
    "--checkpoint": "sft_checkpoint",
    ("--prompts", "-p"): "prompts",
    "--eval-prompts": "eval_prompts",
    "--against": "decontaminate.against",
    ("--output", "-o"): "output_dir",
    "--cycles": "raft.num_cycles",
    "--verifier": "verifier.type",
    "--verifier-command": "verifier.command",
    "--host": "verifier.host",
    "--user": "verifier.user",
    "--ssh-key": "verifier.ssh_key",
    "--samples-per-prompt": "raft.samples_per_prompt",
    "--sampling": "generation.sampling",
    "--temperature": "generation.temperature",
    "--max-new-tokens": "generation.max_new_tokens",
    "--keep-percent": "raft.keep_top_percent",
    "--reward-threshold": "raft.reward_threshold",
    "--min-samples": "raft.min_samples",
    "--learning-rate": "training.learning_rate",
    "--lr-decay": "training.lr_decay",
    "--min-lr": "training.min_lr",
    "--batch-size": "training.batch_size",
    "--gradient-accumulation": "training.gradient_accumulation_steps",
    "--epochs": "training.epochs",
    "--lora-rank": "lora.r",
    "--lora-alpha": "lora.alpha",
    "--no-lora": "lora.enabled",
    "--system-prompt": "system_prompt",
    "--seed": "seed",
    "--require-sandbox": "verifier.require_sandbox",
    "--unsafe-no-sandbox": "verifier.unsafe_no_sandbox",
}


@click.group("raft")
def command() -> None:
    """Train a model on its own verified answers."""


@command.command("train")
@_options.config_files
@_options.settings(RaftConfig, _FLAGS)
@_options.assignments
@click.option(
    "--fork",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Go on from the run in --output with other settings, in a new run directory.",
)
@_options.dry_run
@_options.json_output
@_options.progress
@_options.quiet
@_options.verbose
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
