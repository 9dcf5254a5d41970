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
the roofline: the least time in which the machine, at the rates measured in the same round, could
read the prompts, decode the answers and train on the kept ones, over the time taken. Small trial:
--prompts 4 --max-new-tokens 128 --width 512 --rounds 1. With fewer tokens no answer ends by itself,
and nothing is trained.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import plain
import torch
from least import Answer, answers_work
from measure import Measured, Spread, as_commands_run, interleave
from results import write_result

from halo_forge.config.load import load_config
from halo_forge.config.raft import RaftConfig
from halo_forge.core.types import Prompt, TrainingExample
from halo_forge.data.prompts import load_prompts, write_prompts
from halo_forge.models import load
from halo_forge.models.roofline import Rates, Work, training_work
from halo_forge.models.shape import shape_of
from halo_forge.models.speed import measure_rates
from halo_forge.rlvr.raft_trainer import RAFTTrainer
from halo_forge.rlvr.selection import select, to_example
from halo_forge.sandbox import open_sandbox
from halo_forge.sft.base import FitRequest
from halo_forge.store.records import read_records
from halo_forge.store.run_dir import RunDir

__all__ = ["main"]


@dataclass(frozen=True)
class Cycle:
    """What a cycle came to.

    Attributes:
        phases: Seconds of each phase by its name.
        answers: How many there are.
        tokens: Tokens of all answers.
        kept: Answers trained on.
        compiled: Answers that compile.
        work: What had to be computed and read: by decoding, and by training.
    """

    phases: dict[str, float]
    answers: int
    tokens: int
    kept: int
    compiled: int
    work: tuple[Work, Work]


def main() -> None:
    """Let both ways do cycles in turn and print what they cost."""
    as_commands_run()
    options = _options()
    everything = list(load_prompts("builtin:cpp/train"))
    device = load.pick_device("auto")
    dtype = load.pick_dtype(bf16=True, device=device)
    print(f"{dtype} on {device}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    sizes = {}
    for count in options.prompts:
        prompts = everything[:count]
        print(f"\n{len(prompts)} prompts x {options.samples}, {options.max_new_tokens} tokens")
        rates: list[Rates] = []
        seeds = iter(range(options.seed, sys.maxsize))
        ways: dict[str, Callable[[], Cycle | None]] = {
            "rate": lambda rates=rates: rates.append(measure_rates(dtype, device)),
            "ours": lambda prompts=prompts, seeds=seeds: _ours(options, prompts, next(seeds)),
            "plain": lambda prompts=prompts, seeds=seeds: _plain(options, prompts, next(seeds)),
        }
        wanted = {n: w for n, w in ways.items() if n == "rate" or n in options.only}
        found = interleave(wanted, options.rounds)
        del found["rate"]
        sizes[str(count)] = _report(found, rates)
    report = {"sizes": sizes, "growth": _growth(sizes)}
    for name, growth in report["growth"].items():
        print(f"{name}: {growth['seconds']:.2f} times the time for {growth['prompts']:g} times")
    if options.json:
        claims = _claims(sizes, report["growth"])
        write_result(options.json, claims, {"type": str(dtype)} | report)


def _claims(
    sizes: dict[str, dict[str, Any]], growth: dict[str, dict[str, float]]
) -> list[dict[str, Any]]:
    beside = [
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
    grown = [
        {
            "name": f"times as long a cycle of {name}, over {found['prompts']:g} times the prompts",
            "value": found["seconds"] / found["prompts"],
            "aim": [0, 1],
            "limit": "cycle",
        }
        for name, found in growth.items()
    ]
    return beside + grown


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
        answers = [
            (tuple(r["prompt_ids"]), tuple(r["token_ids"]))
            for r in read_records(run.samples_path(1))
        ]
        work = _work(config, answers, _kept(config, run))
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
            kept=record["kept"],
            compiled=round(record["compile_rate"] * record["total_samples"]),
            work=work,
        ),
    )


def _work(
    config: RaftConfig, answers: Sequence[Answer], kept: Sequence[TrainingExample]
) -> tuple[Work, Work]:
    """Return what had to be done to decode the answers and to train on the kept ones."""
    device = load.pick_device(config.hardware.device)
    size = load.pick_dtype(config.hardware.bf16, device).itemsize
    shape = shape_of(config.model.name, config.lora)
    lengths = [(len(e.input_ids), e.loss_tokens) for e in kept]
    decoding = answers_work(shape, answers, config.generation.batch_size, size)
    return decoding, training_work(shape, lengths)


def _kept(config: RaftConfig, run: RunDir) -> list[TrainingExample]:
    """Return the answers that the run trained on."""
    from halo_forge.core.identity import derive_seed
    from halo_forge.store.codec import verdict_from_record

    prompts = {prompt.id: prompt for prompt in load_prompts(run.prompts_path)}
    verdicts = [verdict_from_record(r, prompts) for r in read_records(run.verified_path(1))]
    seed = derive_seed(config.seed, "select", 1)
    loop = config.raft
    kept = select(verdicts, threshold=loop.reward_threshold, keep=loop.keep_top_percent, seed=seed)
    return [to_example(verdict.sample) for verdict in kept]


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
            kept=len(kept),
            compiled=sum(reward > 0 for reward in rewards),
            work=_work(config, [(s.prompt_ids, s.token_ids) for s in samples], examples),
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


def _least(cycle: Cycle, rates: Rates) -> float:
    """Return the seconds below which the machine cannot do it."""
    return sum(work.seconds(rates) for work in cycle.work)


def _report(found: dict[str, Measured[Any]], rates: Sequence[Rates]) -> dict[str, Any]:
    report: dict[str, Any] = {"rates": rates, "rounds": len(rates), "ways": {}}
    for name, way in found.items():
        cycles: list[Cycle] = way.results
        least = [_least(c, one) for c, one in zip(cycles, rates, strict=True)]
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
            f"{row['roofline_share']:.0%} of the roofline"
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
