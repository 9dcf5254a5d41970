"""`halo-forge benchmark`: measure a model on prompts, every answer kept."""

from __future__ import annotations

import click

from halo_forge.commands import _options
from halo_forge.config.benchmark import BenchmarkConfig

__all__ = ["command"]

_FLAGS: dict[str | tuple[str, ...], str] = {
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


@click.group("benchmark")
def command() -> None:
    """Measure a model on prompts, every answer kept."""


@command.command("run")
@_options.config_files
@_options.settings(BenchmarkConfig, _FLAGS)
@_options.assignments
@_options.dry_run
@_options.json_output
@_options.progress
@_options.quiet
@_options.verbose
@click.pass_context
def run(
    ctx: click.Context, dry_run: bool, as_json: bool, progress: str | None, quiet: bool
) -> None:
    """Sample answers, verify them, and estimate pass@k without bias.

    An interrupted benchmark goes on when the same command is given again.

    \b
    Examples:
      halo-forge benchmark run --model models/raft/cycle_3_final --samples 10 --k 1,5,10
      halo-forge benchmark run --engine openai --base-url http://127.0.0.1:8080/v1 --model NAME
    """  # noqa: D301 - click reads the \b
    from halo_forge.commands._output import echo_grid, echo_json
    from halo_forge.config.base import flatten
    from halo_forge.report.tables import benchmark_grid, settings_grid

    resolved = _options.resolve(ctx, BenchmarkConfig)
    if dry_run:
        settings = resolved.value.model_dump(mode="json")
        if as_json:
            echo_json({"config": settings, "sources": dict(resolved.sources)})
        else:
            echo_grid(settings_grid(flatten(settings), resolved.sources))
        return
    from halo_forge.benchmark.runner import run_benchmark

    observer = _options.Display(progress, quiet=quiet, as_json=as_json).observer()
    result = run_benchmark(resolved.value, observer).to_dict()
    if as_json:
        echo_json(result)
    else:
        echo_grid(benchmark_grid(result))
        click.echo(f"\nEvery answer: {resolved.value.output_dir}")
