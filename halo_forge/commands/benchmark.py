"""`halo-forge benchmark`: measure a model on prompts, every answer kept; compare measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from halo_forge.commands import _options
from halo_forge.config.benchmark import BenchmarkConfig, CompareConfig
from halo_forge.config.full import FullConfig
from halo_forge.core.errors import UserError

__all__ = ["BENCHMARK_FLAGS", "command", "measure"]

BENCHMARK_FLAGS: dict[str | tuple[str, ...], str] = {
    ("--model", "-m"): "model.name",
    ("--prompts", "-p"): "prompts",
    ("--output", "-o"): "output_dir",
    "--samples": "samples",
    "--k": "k",
    "--max-prompts": "max_prompts",
    "--temperature": "generation.temperature",
    "--max-new-tokens": "generation.max_new_tokens",
    "--batch-size": "generation.batch_size",
    "--engine": "generation.engine",
    "--base-url": "generation.server.base_url",
    "--api-key-env": "generation.server.api_key_env",
    "--concurrency": "generation.server.concurrency",
    "--verifier": "verifier.type",
    "--verifier-command": "verifier.command",
    "--host": "verifier.host",
    "--user": "verifier.user",
    "--ssh-key": "verifier.ssh_key",
    "--run-after-compile/--no-run-after-compile": "verifier.run_after_compile",
    "--system-prompt": "system_prompt",
    "--seed": "seed",
    "--require-sandbox": "verifier.require_sandbox",
    "--unsafe-no-sandbox": "verifier.unsafe_no_sandbox",
}
_FOR_WINDOWS = "mingw"
_NOT_OF_A_BENCHMARK = {
    "prompts",
    "verifier.type",
    "verifier.command",
    "verifier.host",
    "verifier.user",
    "verifier.ssh_key",
    "verifier.run_after_compile",
}
_RUN_FLAGS: dict[str | tuple[str, ...], str] = {
    **BENCHMARK_FLAGS,
    "--dataset": "benchmark",
    "--base-model": "base_model",
}
_EVAL_FLAGS: dict[str | tuple[str, ...], str] = {
    ("--benchmark", "-b"): "benchmark",
    "--source": "source",
    "--dataset-config": "dataset_config",
    "--revision": "revision",
    "--from": "date_from",
    "--to": "date_to",
    **{names: key for names, key in BENCHMARK_FLAGS.items() if key not in _NOT_OF_A_BENCHMARK},
}
_FULL_FLAGS: dict[str | tuple[str, ...], str] = {
    ("--model", "-m"): "model.name",
    ("--suite", "-s"): "suite",
    ("--cycles", "-c"): "cycles",
    ("--output", "-o"): "output_dir",
    ("--prompts", "-p"): "prompts",
    "--eval-prompts": "eval_prompts",
    "--samples-per-prompt": "samples_per_prompt",
    "--samples": "samples",
    "--k": "k",
    "--verifier": "verifier.type",
    "--temperature": "generation.temperature",
    "--max-new-tokens": "generation.max_new_tokens",
    "--batch-size": "generation.batch_size",
    "--system-prompt": "system_prompt",
    "--seed": "seed",
    "--require-sandbox": "verifier.require_sandbox",
    "--unsafe-no-sandbox": "verifier.unsafe_no_sandbox",
}
_COMPARE_FLAGS: dict[str | tuple[str, ...], str] = {
    "--k": "k",
    "--rate": "rate",
    "--seed": "seed",
}


@click.group("benchmark")
def command() -> None:
    """Measure a model on prompts, every answer kept; compare what was measured."""


@command.command("run")
@_options.config_files
@_options.settings(BenchmarkConfig, _RUN_FLAGS)
@click.option(
    "--cross-compile",
    is_flag=True,
    help=f"Compile for Windows: the verifier {_FOR_WINDOWS} instead of gcc.",
)
@_options.assignments
@_options.long_running
@click.pass_context
def run(
    ctx: click.Context,
    cross_compile: bool,
    dry_run: bool,
    as_json: bool,
    progress: str | None,
    quiet: bool,
) -> None:
    """Sample answers, verify them, and estimate pass@k without bias.

    An interrupted benchmark goes on when the same command is given again.

    \b
    Examples:
      halo-forge benchmark run --model models/raft/cycle_3_final --samples 10 --k 1,5,10
      halo-forge benchmark run --engine openai --base-url http://127.0.0.1:8080/v1 --model NAME
    """  # noqa: D301 - click reads the \b
    if cross_compile:
        _compile_for_windows(ctx)
    measure(ctx, _options.Display(progress, quiet=quiet, as_json=as_json), dry_run=dry_run)


@command.command("eval")
@_options.config_files
@_options.settings(BenchmarkConfig, _EVAL_FLAGS)
@_options.assignments
@_options.long_running
@click.pass_context
def evaluate(
    ctx: click.Context, dry_run: bool, as_json: bool, progress: str | None, quiet: bool
) -> None:
    """Measure a model on a benchmark by name, with the verifier that runs its tests.

    An interrupted benchmark goes on when the same command is given again.

    \b
    Examples:
      halo-forge benchmark eval -b humaneval_plus --samples 10 --k 1,10 -o results/humaneval_plus
      halo-forge benchmark eval -b mbpp_plus --source MbppPlus.jsonl.gz
      halo-forge benchmark eval -b livecodebench --from 2025-01-01 --to 2025-04-30
      halo-forge benchmark eval -b cpp --temperature 0
    """  # noqa: D301 - click reads the \b
    display = _options.Display(progress, quiet=quiet, as_json=as_json)
    measure(ctx, display, dry_run=dry_run, named=True)


@command.command("full")
@_options.settings(FullConfig, _FULL_FLAGS)
@_options.assignments
@_options.long_running
@click.pass_context
def full(
    ctx: click.Context, dry_run: bool, as_json: bool, progress: str | None, quiet: bool
) -> None:
    """Measure a model on held-out prompts, train it on others, and measure it again.

    What the hardware does meanwhile goes to hardware.csv beside the results. An interrupted pass
    goes on when the same command is given again.

    \b
    Examples:
      halo-forge benchmark full --model Qwen/Qwen2.5-Coder-0.5B --cycles 2
      halo-forge benchmark full --suite all
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._benchmark_full import show_full

    display = _options.Display(progress, quiet=quiet, as_json=as_json)
    show_full(_options.resolve(ctx, FullConfig), display, dry_run=dry_run)


@command.command("compare")
@click.argument("measured", nargs=-1, type=click.Path(path_type=Path), metavar="BASELINE OTHER...")
@_options.settings(CompareConfig, _COMPARE_FLAGS)
@_options.json_output
@_options.verbose
@click.pass_context
def compare_all(ctx: click.Context, measured: tuple[Path, ...], as_json: bool) -> None:
    """Compare each OTHER with BASELINE, problem by problem.

    Each is the folder of a benchmark or its result.json, a run directory (for its last held-out
    evaluation), or a cycle_N_eval.jsonl of one. Problems, number of answers and verifier must be
    the same.

    \b
    Examples:
      halo-forge benchmark compare results/base results/cycle_3
      halo-forge benchmark compare models/raft/cycle_0_eval.jsonl models/raft
    """  # noqa: D301 - click reads the \b
    from halo_forge.benchmark.compare import compare, require_comparable
    from halo_forge.benchmark.measured import read_measured
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.report.comparison import (
        comparison_grid,
        comparison_record,
        moved_lines,
        sentence,
    )
    from halo_forge.utils.text import printable

    settings = _options.resolve(ctx, CompareConfig).value
    if len(measured) < 2:
        raise UserError("two results are compared, or more: the baseline first")
    found = [read_measured(path, settings.rate) for path in measured]
    require_comparable(found)
    pairs = [compare(found[0], one, k=settings.k, seed=settings.seed) for one in found[1:]]
    if as_json:
        echo_json([comparison_record(pair, settings.rate) for pair in pairs])
        return
    echo_grid(comparison_grid(pairs, settings.rate))
    for pair in pairs:
        lines = [f"{pair.other.name}: {sentence(pair)}.", *moved_lines(pair)]
        click.echo("\n" + printable("\n".join(lines)))


def measure(
    ctx: click.Context,
    display: _options.Display,
    *,
    dry_run: bool,
    named: bool = False,
    files: Sequence[Path] = (),
) -> None:
    """Measure as the flags of ``ctx`` say, or show the settings.

    Args:
        ctx: The running command's context.
        display: How it is shown.
        dry_run: Show the settings, and stop.
        named: Whether a benchmark has to be named.
        files: Configuration that lies under that of the user.

    Raises:
        HaloForgeError: Whatever stopped it; what was done stays on disk.
    """
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.config.base import flatten
    from halo_forge.report.tables import (
        benchmark_effort,
        benchmark_grid,
        categories_grid,
        settings_grid,
    )

    resolved = _options.resolve(ctx, BenchmarkConfig, files=files)
    if named and resolved.value.benchmark is None:
        raise UserError("--benchmark is missing: which benchmark? (--help names them)")
    if dry_run:
        from halo_forge.benchmark.suites import settled

        settings, sources = settled(resolved.value).model_dump(mode="json"), dict(resolved.sources)
        if resolved.value.benchmark is not None:
            asked = flatten(resolved.value.model_dump(mode="json"))
            changed = {key for key, value in flatten(settings).items() if value != asked[key]}
            by = f"benchmark {resolved.value.benchmark}"
            sources |= dict.fromkeys({*changed, "verifier.type"}, by)
        if display.as_json:
            echo_json({"config": settings, "sources": sources})
        else:
            echo_grid(settings_grid(flatten(settings), sources))
        return
    from halo_forge.benchmark.runner import run_benchmark

    result = run_benchmark(resolved.value, display.observer()).to_dict()
    if display.as_json:
        echo_json(result)
    else:
        echo_grid(benchmark_grid(result))
        groups = categories_grid(result)
        if groups is not None:
            click.echo()
            echo_grid(groups)
        click.echo(f"\n{benchmark_effort(result)}\nEvery answer: {resolved.value.output_dir}")


def _compile_for_windows(ctx: click.Context) -> None:
    """Take gcc's cross compiler in place of gcc.

    Raises:
        UserError: If another verifier is asked for.
    """
    asked = _options.resolve(ctx, BenchmarkConfig).value.verifier.type
    if asked not in {"gcc", _FOR_WINDOWS}:
        raise UserError(
            f"--cross-compile goes with the verifiers gcc and {_FOR_WINDOWS}, and {asked!r} is "
            "asked for: leave one of them out"
        )
    _options.note(ctx, "verifier.type", _FOR_WINDOWS, "--cross-compile")
