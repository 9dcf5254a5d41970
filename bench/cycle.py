"""What does one whole cycle cost, beside the way most people would write it?

    python bench/cycle.py [--prompts 24] [--samples 8] [--max-new-tokens 256] [--rounds 3]
        [--config configs/raft_cpu.yaml] [--model builtin:smollm2-135m] [--width 2048]
        [--plain-batch 1] [--seed 0] [--only ours] [--json FILE]

A cycle answers built-in C++ tasks, judges the answers by their tests, selects and trains one epoch;
it starts from the model on the disk and ends with an adapter there. Ours is a run of `RAFTTrainer`
in a new directory, all that a run does once included: proving the sandbox, precompiling headers,
writing everything down. The other is `plain`, phase after phase. Both take their turn in each
round, with seeds of their own; how many answers are kept, and so trained on, is a matter of chance
and printed. Several numbers after --prompts show how the cost grows: with four times the prompts it
should be four times as much at most.

Prints for each way its seconds by phase, the ratio of wall and CPU time by round, and the share of
the bound: the products of matrices that the tokens need at the machine's measured rate, over the
time taken. Small trial: --prompts 4 --max-new-tokens 128 --width 512 --rounds 1. With fewer tokens
no answer ends by itself, and nothing is trained.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import plain
import torch
from measure import Measured, Spread, interleave
from results import write_result

from halo_forge.config.load import load_config
from halo_forge.config.raft import RaftConfig
from halo_forge.core.types import Prompt
from halo_forge.data.prompts import load_prompts, write_prompts
from halo_forge.models import load
from halo_forge.rlvr.raft_trainer import RAFTTrainer
from halo_forge.rlvr.selection import select, to_example
from halo_forge.sandbox import open_sandbox
from halo_forge.sft.base import FitRequest
from halo_forge.store.records import read_records
from halo_forge.store.run_dir import RunDir

__all__ = ["main"]

_RATE_SIZE, _RATE_TRIES = 1024, 8
_FORWARD, _BOTH = 2, 4
"""Operations a weight and token: of a forward pass, and with the gradient of a frozen layer."""


@dataclass(frozen=True)
class Cycle:
    """What a cycle came to.

    Attributes:
        phases: Seconds of each phase by its name.
        answers: How many there are.
        tokens: Tokens of all answers.
        read: Tokens of the prompts, each counted once.
        kept: Answers trained on.
        trained: Their tokens, prompts included.
        compiled: Answers that compile.
    """

    phases: dict[str, float]
    answers: int
    tokens: int
    read: int
    kept: int
    trained: int
    compiled: int


def main() -> None:
    """Let both ways do cycles in turn and print what they cost."""
    options = _options()
    everything = list(load_prompts("builtin:cpp/train"))
    device = load.pick_device("auto")
    dtype = load.pick_dtype(bf16=True, device=device)
    weights = _weights(options.model)
    print(f"{dtype} on {device}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    sizes = {}
    for count in options.prompts:
        prompts = everything[:count]
        print(f"\n{len(prompts)} prompts x {options.samples}, {options.max_new_tokens} tokens")
        rates: list[float] = []
        seeds = iter(range(options.seed, sys.maxsize))
        ways: dict[str, Callable[[], Cycle | None]] = {
            "rate": partial(_noted, rates, dtype, device),
            "ours": lambda prompts=prompts, seeds=seeds: _ours(options, prompts, next(seeds)),
            "plain": lambda prompts=prompts, seeds=seeds: _plain(options, prompts, next(seeds)),
        }
        wanted = {n: w for n, w in ways.items() if n == "rate" or n in options.only}
        found = interleave(wanted, options.rounds)
        del found["rate"]
        sizes[str(count)] = _report(found, rates, weights)
    report = {"sizes": sizes, "growth": _growth(sizes)}
    for name, growth in report["growth"].items():
        print(f"{name}: {growth['seconds']:.2f} times the time for {growth['prompts']:g} times")
    if options.json:
        write_result(options.json, _claims(sizes), {"type": str(dtype)} | report)


def _claims(sizes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "name": f"seconds of a cycle, plain over ours, {count} prompts",
            "value": report["ratio"],
            "aim": 3,
            "roofline": report["ways"]["ours"]["roofline_share"],
            "limit": "cycle",
        }
        for count, report in sizes.items()
        if "ratio" in report
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, nargs="+", default=[24])
    for name, default in (
        ("samples", 8),
        ("max-new-tokens", 256),
        ("rounds", 3),
        ("width", 2048),
        ("plain-batch", 1),
        ("seed", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--config", type=Path, default=Path("configs/raft_cpu.yaml"))
    parser.add_argument("--model", default="builtin:smollm2-135m")
    parser.add_argument("--only", nargs="+", choices=["ours", "plain"], default=["ours", "plain"])
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _config(options: argparse.Namespace, folder: Path, seed: int) -> RaftConfig:
    changes = {
        "model.name": options.model,
        "output_dir": str(folder / "run"),
        "prompts": str(folder / "prompts.jsonl"),
        "eval_prompts": None,
        "seed": seed,
        "raft.num_cycles": 1,
        "raft.samples_per_prompt": options.samples,
        "generation.max_new_tokens": options.max_new_tokens,
        "training.epochs": 1,
        "report_to": [],
    }
    return load_config(RaftConfig, [options.config], changes).value


def _ours(options: argparse.Namespace, prompts: Sequence[Prompt], seed: int) -> Cycle:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = _config(options, folder, seed)
        write_prompts(folder / "prompts.jsonl", prompts)
        (record,) = RAFTTrainer(config).train()
        run = RunDir(folder / "run")
        read = {r["prompt_id"]: len(r["prompt_ids"]) for r in read_records(run.samples_path(1))}
        kept = _kept_tokens(config, run)
    generation, training = record["generation_seconds"], record["training_seconds"]
    judging = record["verification_seconds"]
    spent = time.perf_counter() - started
    return _told(
        "ours",
        Cycle(
            phases={
                "generate": generation,
                "judge, beyond that": judging,
                "train": training,
                "rest": spent - generation - training - judging,
                "judging lengthened it by": record["verification_added_seconds"],
            },
            answers=record["total_samples"],
            tokens=record["tokens_generated"],
            read=sum(read.values()),
            kept=record["kept"],
            trained=kept,
            compiled=round(record["compile_rate"] * record["total_samples"]),
        ),
    )


def _kept_tokens(config: RaftConfig, run: RunDir) -> int:
    """Return the tokens of the answers that the run trained on."""
    from halo_forge.core.identity import derive_seed
    from halo_forge.store.codec import verdict_from_record

    prompts = {prompt.id: prompt for prompt in load_prompts(run.prompts_path)}
    verdicts = [verdict_from_record(r, prompts) for r in read_records(run.verified_path(1))]
    seed = derive_seed(config.seed, "select", 1)
    loop = config.raft
    kept = select(verdicts, threshold=loop.reward_threshold, keep=loop.keep_top_percent, seed=seed)
    return sum(len(to_example(verdict.sample).input_ids) for verdict in kept)


def _plain(options: argparse.Namespace, prompts: Sequence[Prompt], seed: int) -> Cycle:
    with tempfile.TemporaryDirectory() as name:
        config = _config(options, Path(name), seed)
        loop = config.raft
        times = [time.perf_counter()]
        samples = plain.generate(config, prompts, seed)
        times.append(time.perf_counter())
        with open_sandbox(workers=1) as sandbox:
            verdicts = plain.judge(sandbox, samples, config.verifier.run_timeout)
        times.append(time.perf_counter())
        kept = select(
            verdicts, threshold=loop.reward_threshold, keep=loop.keep_top_percent, seed=seed
        )
        examples = [to_example(verdict.sample) for verdict in kept]
        if examples:
            request = FitRequest(
                policy=options.model,
                output=Path(name, "adapter"),
                learning_rate=config.training.learning_rate,
                seed=seed,
                training=config.training,
                lora=config.lora,
                hardware=config.hardware,
                trust_remote_code=False,
                meta={},
            )
            plain.train(examples, request, options.width, options.plain_batch)
        times.append(time.perf_counter())
    seconds = [after - before for before, after in pairwise(times)]
    rewards = [verdict.result.reward for verdict in verdicts if verdict.result]
    return _told(
        "plain",
        Cycle(
            phases=dict(zip(("generate", "judge", "train"), seconds, strict=True)),
            answers=len(samples),
            tokens=sum(sample.length for sample in samples),
            read=sum(len(ids) for ids in {s.prompt.id: s.prompt_ids for s in samples}.values()),
            kept=len(kept),
            trained=sum(len(example.input_ids) for example in examples),
            compiled=sum(reward > 0 for reward in rewards),
        ),
    )


def _told(name: str, cycle: Cycle) -> Cycle:
    phases = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in cycle.phases.items())
    print(
        f"  {name:>5}: {phases}; {cycle.answers} answers, {cycle.tokens} tokens, "
        f"{cycle.compiled} compile, {cycle.kept} kept",
        flush=True,
    )
    return cycle


def _weights(model: str) -> int:
    """Return the weights that every token is multiplied with."""
    with torch.device("meta"):
        skeleton = load.load_skeleton(model)
    return sum(p.numel() for p in skeleton.parameters() if p.dim() > 1)


def _noted(rates: list[float], dtype: torch.dtype, device: torch.device) -> None:
    """Note the operations a second of the best of some matrix products."""
    left, right = (torch.randn(_RATE_SIZE, _RATE_SIZE, device=device).to(dtype) for _ in "lr")
    best = float("inf")
    for _ in range(_RATE_TRIES):
        started = time.perf_counter()
        product = left @ right
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - started)
    rates.append(2 * _RATE_SIZE**3 / best)


def _least(cycle: Cycle, weights: int, rate: float) -> float:
    """Return the seconds of the matrix products alone, at the machine's rate."""
    tokens = cycle.tokens + cycle.read
    return weights * (_FORWARD * tokens + _BOTH * cycle.trained) / rate


def _report(
    found: dict[str, Measured[Any]], rates: Sequence[float], weights: int
) -> dict[str, Any]:
    report: dict[str, Any] = {"rate": Spread.of(rates), "rounds": len(rates), "ways": {}}
    for name, way in found.items():
        cycles: list[Cycle] = way.results
        least = [_least(c, weights, rate) for c, rate in zip(cycles, rates, strict=True)]
        report["ways"][name] = {
            "wall_seconds": Spread.of(way.wall),
            "cpu_seconds": Spread.of(way.cpu),
            "tokens_per_second": Spread.of(
                [c.tokens / wall for c, wall in zip(cycles, way.wall, strict=True)]
            ),
            "roofline_share": Spread.of([a / b for a, b in zip(least, way.wall, strict=True)]),
            "cycles": cycles,
        }
        row = report["ways"][name]
        print(
            f"{name:>7}: {row['wall_seconds']:.1f} s, {row['cpu_seconds']:.1f} s of CPU, "
            f"{row['roofline_share']:.0%} of the bound"
        )
    if len(found) > 1:
        ours, other = found["ours"], found["plain"]
        for key, by in (("ratio", "wall"), ("ratio_of_cpu", "cpu")):
            pairs = zip(getattr(other, by), getattr(ours, by), strict=True)
            report[key] = Spread.of([a / b for a, b in pairs])
        print(f"ratio of wall time: {report['ratio']:.2f}; of CPU: {report['ratio_of_cpu']:.2f}")
    return report


def _growth(sizes: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return how many times as long each way takes for the most prompts as for the fewest."""
    counts = sorted(sizes, key=int)
    few, many = sizes[counts[0]]["ways"], sizes[counts[-1]]["ways"]
    if len(counts) == 1:
        return {}
    return {
        name: {
            "prompts": int(counts[-1]) / int(counts[0]),
            "seconds": many[name]["wall_seconds"].median / few[name]["wall_seconds"].median,
        }
        for name in few
    }


if __name__ == "__main__":
    main()
