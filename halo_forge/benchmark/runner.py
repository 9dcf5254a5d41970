"""`halo-forge benchmark run` and `eval`: generate, judge, estimate; every answer is kept.

Resumed by the same arithmetic as training: answers are owed until they are judged and on disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from halo_forge.benchmark.pass_at_k import estimate_pass_at_k
from halo_forge.benchmark.suites import Problems, load_problems, settled
from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.config.load import dump_yaml
from halo_forge.core.errors import UserError
from halo_forge.core.identity import derive_seed
from halo_forge.core.types import Verdict, VerifyResult
from halo_forge.data.prompts import prompts_digest
from halo_forge.engines.base import Engine, EngineSpec, open_engine
from halo_forge.rlvr.judges import make_verifier
from halo_forge.rlvr.rollout import Plan, Rollout, collect
from halo_forge.rlvr.statistics import compiled
from halo_forge.store.atomic import write_text
from halo_forge.store.run_dir import RunDir
from halo_forge.tracking.base import Observer
from halo_forge.utils import hardware

__all__ = ["BenchmarkResult", "run_benchmark"]

_BEFORE_TESTS = frozenset({"compile", "run"})
"""Stages of a verdict at which no output was compared and no test was called."""


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What a benchmark measured.

    Attributes:
        model: Model or checkpoint reference.
        verifier: What the verdicts depend on: verifier, compilers, flags.
        prompts: How many problems.
        samples_per_prompt: Answers to each, the same for all.
        mode: ``greedy`` (temperature 0, one answer each) or ``sampled``.
        pass_at_k: For each k: mean over problems and interval, for answers that pass.
        compile_at_k: The same for answers that compile; not a measure of correctness.
        by_category: For each category its problems and answers, and both of these.
        untested: Answers that pass without a test: nothing was run, or no output was expected.
        tokens: Of all answers: how many, how many an answer, and how many answers were cut.
        timing: Tokens and seconds of the last attempt that generated any.
        problems: Of a benchmark by name: which, its source, and how many problems are published.
    """

    model: str
    verifier: str
    prompts: int
    samples_per_prompt: int
    mode: str
    pass_at_k: Mapping[str, Any]
    compile_at_k: Mapping[str, Any]
    by_category: Mapping[str, Any]
    untested: int
    tokens: Mapping[str, float]
    timing: Mapping[str, float]
    problems: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable copy."""
        return asdict(self)


def run_benchmark(config: BenchmarkConfig, observer: Observer) -> BenchmarkResult:
    """Do what is owed of a benchmark and return its figures.

    ``output_dir`` then holds ``result.json`` and ``samples.jsonl`` with every answer and verdict.

    Raises:
        UserError: If an input is wrong, or the folder holds a benchmark with other settings.
        Fault: If the machine or the disk lets us down; the same command goes on later.
    """
    started = time.monotonic()
    config = settled(config.model_copy(update={"k": config.budgets}))
    _require_base(config)
    problems = load_problems(config)
    prompts = problems.prompts
    run = RunDir(Path(config.output_dir))
    with make_verifier(config.verifier, score_hidden=True) as verifier, run.lock():
        verifier.start(prompts)
        guarded = {
            **config.guarded(),
            "model.content": _model_content(config),
            "prompts.content": prompts_digest(prompts),
            "verifier.fingerprint": verifier.fingerprint(),
        }
        run.claim(guarded, {"machine": hardware.describe()}, dump_yaml(config))
        plan = Plan(
            name="benchmark",
            prompts=prompts,
            samples_per_prompt=config.samples,
            seed=derive_seed(config.seed, "benchmark"),
            samples_path=None,
            verified_path=run.benchmark_samples_path,
        )
        rollout = collect(plan, lambda: _open_engine(config), verifier, observer)
        timing = _timing(rollout, started)
        before = run.read_benchmark()
        if before is not None and not rollout.tokens:
            timing = before.get("timing", timing)
        result = _result(config, problems, rollout.verdicts, verifier.fingerprint(), timing)
    text = orjson.dumps(result.to_dict(), option=orjson.OPT_INDENT_2).decode()
    write_text(run.benchmark_result_path, text + "\n")
    return result


def _model_content(config: BenchmarkConfig) -> str:
    """Return what tells this model from others; of a server's, all that is known is its name.

    Only engines that ask a server take an address of one: see `GenerationSettings`.
    """
    if config.generation.server.base_url is not None:
        return f"{config.model.name} of a server"
    from halo_forge.models.checkpoint import model_digest

    return model_digest(config.model.name)


def _require_base(config: BenchmarkConfig) -> None:
    """Refuse a model that was not trained on the base it is said to have.

    Raises:
        UserError: If it was not, or is a server's, which does not say.
        ModelFault: If a model cannot be had.
    """
    if config.base_model is None:
        return
    if config.generation.server.base_url is not None:
        raise UserError("base_model (--base-model): a server does not say; leave it out")
    from halo_forge.models.refs import require_base

    require_base(config.model.name, config.base_model)


def _open_engine(config: BenchmarkConfig) -> Engine:
    return open_engine(
        EngineSpec(
            policy=config.model.name,
            generation=config.generation,
            hardware=config.hardware,
            trust_remote_code=config.model.trust_remote_code,
            label=config.model.name,
            images=config.images,
        )
    )


def _timing(rollout: Rollout, started: float) -> dict[str, float]:
    return {
        "tokens_generated": rollout.tokens,
        "generation_seconds": rollout.generation_seconds,
        "verification_seconds": rollout.verification_seconds,
        "verification_added_seconds": rollout.added_seconds,
        "total_seconds": time.monotonic() - started,
    }


def _result(
    config: BenchmarkConfig,
    problems: Problems,
    verdicts: Sequence[Verdict],
    fingerprint: str,
    timing: Mapping[str, float],
) -> BenchmarkResult:
    return BenchmarkResult(
        model=config.model.name,
        verifier=fingerprint,
        prompts=len(problems.prompts),
        samples_per_prompt=config.samples,
        mode="sampled" if config.generation.temperature else "greedy",
        **_rates(config, verdicts),
        by_category=_by_category(config, verdicts),
        untested=sum(_is_untested(v.result) for v in verdicts if v.result is not None),
        tokens=_tokens(verdicts),
        timing=timing,
        problems=problems.about,
    )


def _rates(config: BenchmarkConfig, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "pass_at_k": _at_k(config, verdicts, lambda result: result.success),
        "compile_at_k": _at_k(config, verdicts, compiled),
    }


def _at_k(
    config: BenchmarkConfig, verdicts: Sequence[Verdict], counts: Callable[[VerifyResult], bool]
) -> dict[str, Any]:
    passed: dict[str, int] = {}
    for verdict in verdicts:
        if verdict.result is not None:
            prompt = verdict.sample.prompt.id
            passed[prompt] = passed.get(prompt, 0) + counts(verdict.result)
    values = list(passed.values())
    return {
        str(k): asdict(estimate_pass_at_k(values, config.samples, k, config.seed))
        for k in config.budgets
    }


def _is_untested(result: VerifyResult) -> bool:
    return result.success and result.metadata.get("stage") in _BEFORE_TESTS


def _by_category(config: BenchmarkConfig, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.sample.prompt.category or "none", []).append(verdict)
    return {
        name: {
            "prompts": len({verdict.sample.prompt.id for verdict in group}),
            "samples": len(group),
            **_rates(config, group),
        }
        for name, group in sorted(groups.items())
    }


def _tokens(verdicts: Sequence[Verdict]) -> dict[str, float]:
    lengths = [verdict.sample.length for verdict in verdicts]
    cut = sum(verdict.sample.finish_reason == "length" for verdict in verdicts)
    return {"generated": sum(lengths), "mean": sum(lengths) / len(lengths), "cut": cut}
