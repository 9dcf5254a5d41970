"""`halo-forge sft`: train a model on answers that are known to be good."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from halo_forge.commands import _options
from halo_forge.config.load import Resolved
from halo_forge.config.sft import SFTConfig

__all__ = ["SFT_FLAGS", "command", "fine_tune"]

SFT_FLAGS: dict[str | tuple[str, ...], str] = {
    ("--model", "-m"): "model.name",
    "--data": "data.train_file",
    ("--dataset", "-d"): "data.dataset",
    "--source": "data.source",
    ("--output", "-o"): "output_dir",
    "--epochs": "training.epochs",
    "--batch-size": "training.batch_size",
    "--gradient-accumulation": "training.gradient_accumulation_steps",
    "--learning-rate": "training.learning_rate",
    "--warmup-ratio": "training.warmup_ratio",
    "--max-seq-length": "data.max_seq_length",
    "--validation-split": "data.validation_split",
    "--max-samples": "data.max_samples",
    "--against": "decontaminate.against",
    "--system-prompt": "data.system_prompt",
    "--early-stopping": "training.early_stopping_patience",
    "--lora-rank": "lora.r",
    "--lora-alpha": "lora.alpha",
    "--lora-dropout": "lora.dropout",
    "--no-lora": "lora.enabled",
    "--seed": "seed",
}
"""Names of each flag, and the dotted key of its setting."""


@click.group("sft")
def command() -> None:
    """Train a model on answers that are known to be good."""


@command.command("train")
@_options.config_files
@_options.settings(SFTConfig, SFT_FLAGS)
@_options.assignments
@click.option(
    "--resume", is_flag=True, help="Only go on with the run in --output; never begin one."
)
@_options.fork
@_options.long_running
@click.pass_context
def train(
    ctx: click.Context,
    resume: bool,
    fork: Path | None,
    dry_run: bool,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Fine-tune a model; the result is final_model in --output.

    A run that was interrupted goes on when the same command is given again. On several graphics
    processors: `accelerate launch -m halo_forge sft train ...`.

    \b
    Examples:
      halo-forge sft train --data data/train.jsonl --output models/sft --epochs 1
      halo-forge sft train --config configs/sft_example.yaml --dry-run
    """  # noqa: D301 - click reads the \b
    display = _options.Display(progress, quiet=quiet, as_json=as_json)
    fine_tune(ctx, display, fork=fork, resume=resume, dry_run=dry_run)


def fine_tune(
    ctx: click.Context,
    display: _options.Display,
    *,
    fork: Path | None,
    resume: bool,
    dry_run: bool,
    then: str = "raft train",
) -> None:
    """Fine-tune as the flags of ``ctx`` say, or show what would be done.

    Args:
        ctx: The running command's context.
        display: How it is shown.
        fork: New run directory, to go on there with other settings.
        resume: Only go on; never begin.
        dry_run: Only show.
        then: The command that goes on from such a model.

    Raises:
        HaloForgeError: Whatever stopped it; what was done stays on disk.
        KeyboardInterrupt: When the user stopped it, after saying how to go on.
    """
    resolved = _options.resolve(ctx, SFTConfig)
    from halo_forge.sft.trainer import SFTTrainer  # imports torch, which what is resolved prepares
    from halo_forge.utils.processes import place

    observer = replace(display, quiet=display.quiet or not place().speaks).observer()
    trainer = SFTTrainer(resolved.value, observer=observer, fork=fork, resume=resume)
    if dry_run:
        _show_plan(resolved, trainer.plan(), as_json=display.as_json)
        return
    path = fork or Path(resolved.value.output_dir)
    try:
        figures = trainer.train()
    except KeyboardInterrupt:
        observer.message(f"{path} keeps what is done; the same command goes on from there")
        raise
    if place().speaks:
        _show_end(figures, then, as_json=display.as_json)


@command.command("datasets")
@_options.json_output
@_options.verbose
def datasets(as_json: bool) -> None:
    """List the public data sets that have answers to learn from, for --dataset."""
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.data import public_datasets
    from halo_forge.report.grid import Grid

    known = [public_datasets.get(name) for name in public_datasets.names()]
    sets = [one for one in known if one.answers]
    if as_json:
        keys = ("name", "summary", "hub_id", "licence", "language")
        echo_json([{key: getattr(one, key) for key in keys} for one in sets])
        return
    rows = [(one.name, one.language or "", one.licence, one.summary) for one in sets]
    echo_grid(Grid(("name", "language", "licence", "what it is"), tuple(rows), wide=True))


def _show_plan(resolved: Resolved[SFTConfig], plan: dict[str, Any], *, as_json: bool) -> None:
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.config.base import flatten
    from halo_forge.report.tables import settings_grid

    settings = resolved.value.model_dump(mode="json")
    if as_json:
        echo_json({"config": settings, "sources": dict(resolved.sources), **plan})
        return
    echo_grid(settings_grid(flatten(settings), resolved.sources))
    click.echo()
    for name in ("train", "validation"):
        counts = ", ".join(f"{key} {value}" for key, value in plan[name].items())
        click.echo(f"{name}: {counts}")
    click.echo(f"Steps: {plan['state']} of {plan['steps']} done")
    click.echo(f"Memory: {plan['memory']}")


def _show_end(figures: dict[str, Any], then: str, *, as_json: bool) -> None:
    import shlex

    from halo_forge.commands._output import echo_json
    from halo_forge.utils.text import printable

    if as_json:
        echo_json(figures)
        return
    click.echo(f"Loss: {figures['loss']:.4f} over {figures['steps']} steps")
    for entry in figures["eval_losses"]:
        kept = ", kept" if entry["step"] == figures["best_step"] else ""
        click.echo(f"Validation loss after step {entry['step']}: {entry['loss']:.4f}{kept}")
    path = shlex.quote(printable(figures["final_model"]))
    click.echo(f"Model: {path}")
    click.echo(f"Next:  halo-forge {then} --checkpoint {path}")
