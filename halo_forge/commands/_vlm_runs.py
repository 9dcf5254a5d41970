"""Training and measuring models that see: the commands for text, with other defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from halo_forge.commands import _options, _vlm_prompts
from halo_forge.commands._raft_flags import RAFT_FLAGS
from halo_forge.commands.benchmark import BENCHMARK_FLAGS, measure
from halo_forge.commands.sft import SFT_FLAGS, fine_tune
from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.config.load import Resolved
from halo_forge.config.raft import RaftConfig
from halo_forge.config.sft import SFTConfig
from halo_forge.core.errors import UserError

__all__ = ["benchmark", "sft", "train"]

_RAFT, _BENCHMARK = Path("builtin:vlm"), Path("builtin:vlm-benchmark")
_CODE = {
    "--verifier-command",
    "--host",
    "--user",
    "--ssh-key",
    "--run-after-compile/--no-run-after-compile",
}
_ASKED = {"prompts": "", "model.name": ""}
"""What has to be said here: the defaults of the other commands know no pictures."""
_PICTURES = {"--max-pixels": "images.max_pixels", "--images-from-web": "images.from_web"}


def _weights(function: Any) -> Any:
    """Add the weights of the verifier's stages, which are options of its own."""

    def keep(ctx: click.Context, param: click.Parameter, value: float | None) -> None:
        if value is not None:
            _options.note(ctx, f"verifier.options.{param.name}", value, param.opts[0])

    for stage in ("output", "reasoning", "perception"):
        function = click.option(
            f"--{stage}-weight",
            type=float,
            callback=keep,
            expose_value=False,
            help=f"Weight of the {stage} stage of the verifier; its own when not given.",
        )(function)
    return function


def _of_pictures(
    flags: Mapping[str | tuple[str, ...], str],
) -> dict[str | tuple[str, ...], str]:
    """Return the flags that mean something here: those of programs are left out."""
    return {names: key for names, key in flags.items() if names not in _CODE} | _PICTURES


@click.command("train")
@_options.config_files
@_options.settings(RaftConfig, _of_pictures(RAFT_FLAGS), preset=_RAFT, shown=_ASKED)
@_vlm_prompts.dataset
@_weights
@_options.assignments
@_options.fork
@_options.long_running
@click.pass_context
def train(
    ctx: click.Context,
    dataset: str | None,
    limit: int | None,
    fork: Path | None,
    dry_run: bool,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Generate, verify, select and train on questions about images, cycle by cycle.

    It is `halo-forge raft train` with other defaults (builtin:vlm): the same loop, files and
    resumption. Prompts name their images: {"prompt": ..., "image": FILE, "ground_truth": ...}.

    \b
    Examples:
      halo-forge vlm train --model MODEL --dataset textvqa --limit 500 --cycles 6
      halo-forge vlm train --model MODEL --prompts questions.jsonl
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._training import show_plan, train_and_show

    display = _options.Display(progress, quiet=quiet, as_json=as_json)
    resolved = _options.resolve(ctx, RaftConfig, files=[_RAFT])
    _vlm_prompts.note_questions(ctx, resolved, display, name=dataset, limit=limit)
    resolved = _options.resolve(ctx, RaftConfig, files=[_RAFT])
    _require_prompts(resolved)
    if dry_run:
        show_plan(resolved, as_json=as_json, fork=fork)
    else:
        train_and_show(resolved.value, display, fork=fork, measure="vlm benchmark")


@click.command("sft")
@_options.config_files
@_options.settings(SFTConfig, _of_pictures(SFT_FLAGS))
@_options.assignments
@click.option(
    "--resume", is_flag=True, help="Only go on with the run in --output; never begin one."
)
@_options.fork
@_options.long_running
@click.pass_context
def sft(
    ctx: click.Context,
    resume: bool,
    fork: Path | None,
    dry_run: bool,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Fine-tune a model on answers to questions about images.

    It is `halo-forge sft train`. Records name their images beside the chat:
    {"prompt": ..., "completion": ..., "image": FILE}. Adapters leave the layers that look at
    images alone; --no-lora trains them too.

    \b
    Examples:
      halo-forge vlm sft --model MODEL --data answers.jsonl --output models/vlm_sft
    """  # noqa: D301 - click reads the \b
    display = _options.Display(progress, quiet=quiet, as_json=as_json)
    fine_tune(ctx, display, fork=fork, resume=resume, dry_run=dry_run, then="vlm train")


@click.command("benchmark")
@_options.config_files
@_options.settings(BenchmarkConfig, _of_pictures(BENCHMARK_FLAGS), preset=_BENCHMARK, shown=_ASKED)
@_vlm_prompts.dataset
@_weights
@_options.assignments
@_options.long_running
@click.pass_context
def benchmark(
    ctx: click.Context,
    dataset: str | None,
    limit: int | None,
    dry_run: bool,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Sample answers to questions about images, verify them, and estimate pass@k.

    It is `halo-forge benchmark run` with other defaults (builtin:vlm-benchmark).

    \b
    Examples:
      halo-forge vlm benchmark --model models/vlm_raft/cycle_6 --dataset docvqa --limit 200
      halo-forge vlm benchmark --model models/vlm_raft/cycle_6 --prompts heldout.jsonl
    """  # noqa: D301 - click reads the \b
    display = _options.Display(progress, quiet=quiet, as_json=as_json)
    resolved = _options.resolve(ctx, BenchmarkConfig, files=[_BENCHMARK])
    _vlm_prompts.note_questions(
        ctx, resolved, display, name=dataset, limit=limit, splits=_vlm_prompts.MEASURED
    )
    _require_prompts(_options.resolve(ctx, BenchmarkConfig, files=[_BENCHMARK]))
    measure(ctx, display, dry_run=dry_run, files=[_BENCHMARK])


def _require_prompts(resolved: Resolved[Any]) -> None:
    """Refuse the built-in tasks, which show no images.

    Raises:
        UserError: If no prompts were named.
    """
    if resolved.sources["prompts"] == "default":
        raise UserError(
            "--prompts (or --dataset) is missing: a file of questions about images, one JSON "
            'object a line, such as {"prompt": "What is it?", "image": "a.png", '
            '"ground_truth": "a cat"}'
        )
