"""How fast is the training phase of a cycle, beside the way most people write it?

    python bench/train.py [--answers 4] [--rounds 2] [--config configs/raft_cpu.yaml]
        [--model builtin:smollm2-135m] [--width 2048] [--plain-batch 1] [--seed 0] [--json FILE]

Kept answers are the reference solutions of built-in tasks, put as a model would put them. Both ways
load the model, put fresh adapters on it, train one epoch of the same optimiser steps and write the
adapter, in turn. The plain way pads every answer to --width, takes the loss of transformers over
the whole batch with all its logits, and keeps its activations; --plain-batch answers a forward pass
is what then fits, and accumulates to the same steps. Before each round the machine's rate of matrix
products is measured.

Prints for each way completion tokens a second and the peak of memory, the ratio by round, both
losses, and the share of the roofline: the floating-point operations that the work needs (no
padding, no logits of prompts, nothing twice) at the measured rate, over the time taken.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import plain
import torch
from measure import Measured, Spread, as_commands_run, interleave
from results import write_result

from halo_forge.config.load import load_config
from halo_forge.config.raft import RaftConfig
from halo_forge.core.types import TrainingExample
from halo_forge.data.builtin import load_builtin
from halo_forge.models import load
from halo_forge.models.chat import render
from halo_forge.models.memory import Peak
from halo_forge.models.roofline import training_work
from halo_forge.models.shape import shape_of
from halo_forge.models.speed import measure_rates
from halo_forge.sft.base import FitRequest
from halo_forge.sft.learner import TrlLearner
from halo_forge.tracking.base import StageClock
from halo_forge.utils.text import fenced

__all__ = ["main"]


@dataclass(frozen=True)
class Phase:
    """What a training phase came to.

    Attributes:
        loss: Mean over completion tokens and steps, nats.
        tokens: Completion tokens trained on.
        stepping: Seconds of the optimiser steps, without loading, trying out and writing.
        peak: Most memory at once, in bytes: of the process, or of the card.
    """

    loss: float
    tokens: int
    stepping: float
    peak: int


def main() -> None:
    """Train both ways in turn and print what it took."""
    as_commands_run()
    options = _options()
    request = _request(options)
    device = load.pick_device(request.hardware.device)
    dtype = load.pick_dtype(request.hardware.bf16, device)
    examples = _kept(options)
    lengths = [len(e.input_ids) for e in examples]
    answered = sum(len(e.input_ids) - e.completion_start for e in examples)
    print(
        f"{len(examples)} answers of {min(lengths)} to {max(lengths)} tokens, {sum(lengths)} in "
        f"all, {answered} of completions; {dtype} on {device}, {torch.get_num_threads()} threads"
    )
    rates: list[float] = []
    ways = {
        "rate": partial(_noted, rates, dtype, device),
        "ours": partial(_ours, examples, request),
        "plain": partial(_plain, examples, request, options.width, options.plain_batch),
    }
    measured = interleave(ways, options.rounds)
    needed = _operations(examples, request)
    report = _report(measured["ours"], measured["plain"], rates, needed, answered)
    other = torch.float32 if dtype is torch.bfloat16 else torch.bfloat16
    report["rate_of_other_type"] = {str(other): _rate(other, device)}
    _show(report)
    if options.json:
        claim = {
            "name": "seconds of a training phase, padded to a fixed width over ours",
            "value": report["ratio"],
            "aim": 4,
            "roofline": report["ways"]["ours"]["roofline_share"],
            "limit": "train",
        }
        write_result(options.json, [claim], {"type": str(dtype), "lengths": lengths} | report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--config", type=Path, default=Path("configs/raft_cpu.yaml"))
    parser.add_argument("--model", default="builtin:smollm2-135m")
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--plain-batch", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _request(options: argparse.Namespace) -> FitRequest:
    config = load_config(RaftConfig, [options.config], {"training.epochs": 1}).value
    return FitRequest(
        policy=options.model,
        output=Path(),
        learning_rate=config.training.learning_rate,
        seed=options.seed,
        training=config.training,
        lora=config.lora,
        hardware=config.hardware,
        trust_remote_code=False,
        meta={},
    )


def _kept(options: argparse.Namespace) -> list[TrainingExample]:
    """Return reference solutions as answers, drawn by the seed."""
    tokenizer = load.load_tokenizer(options.model)
    kept = []
    for prompt in load_builtin("builtin:cpp/train"):
        asked = render(tokenizer, prompt.messages)
        text = fenced(prompt.reference.solution or "", "cpp")
        said = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = (*asked, *said, tokenizer.eos_token_id)
        kept.append(TrainingExample(prompt.id, ids, completion_start=len(asked)))
    return random.Random(options.seed).sample(kept, options.answers)  # noqa: S311 - no secret


def _ours(examples: Sequence[TrainingExample], request: FitRequest) -> Phase:
    clock = StageClock("train")
    with tempfile.TemporaryDirectory() as folder, _peak(request) as peak:
        output = Path(folder, "adapter")
        report = TrlLearner().fit(examples, replace(request, output=output), clock)
    print(f"   ours: {clock.seconds:.1f} s of steps")
    return Phase(report.loss, report.tokens, clock.seconds, peak.bytes or 0)


def _plain(
    examples: Sequence[TrainingExample], request: FitRequest, width: int, size: int
) -> Phase:
    with tempfile.TemporaryDirectory() as folder, _peak(request) as peak:
        done = plain.train(examples, replace(request, output=Path(folder)), width, size)
    tokens = sum(len(e.input_ids) - e.completion_start for e in examples)
    print(f"  plain: {done.stepping:.1f} s of steps")
    return Phase(done.loss, tokens, done.stepping, peak.bytes or 0)


def _peak(request: FitRequest) -> Peak:
    return Peak(load.pick_device(request.hardware.device))


def _noted(rates: list[float], dtype: torch.dtype, device: torch.device) -> Phase:
    rates.append(_rate(dtype, device))
    return Phase(0.0, 0, 0.0, 0)


def _rate(dtype: torch.dtype, device: torch.device) -> float:
    """Return the operations a second of large matrix products."""
    return measure_rates(dtype, device).flops


def _operations(examples: Sequence[TrainingExample], request: FitRequest) -> float:
    """Return the floating-point operations that training on the answers needs."""
    answers = [(len(e.input_ids), len(e.input_ids) - e.completion_start) for e in examples]
    return training_work(shape_of(request.policy, request.lora), answers).flops


def _report(
    ours: Measured[Phase],
    other: Measured[Phase],
    rates: Sequence[float],
    needed: float,
    tokens: int,
) -> dict[str, Any]:
    least = [needed / rate for rate in rates]
    by_way = {
        name: {
            "wall_seconds": Spread.of(way.wall),
            "cpu_seconds": Spread.of(way.cpu),
            "stepping_seconds": Spread.of([phase.stepping for phase in way.results]),
            "completion_tokens_per_second": Spread.of([tokens / wall for wall in way.wall]),
            "roofline_share": Spread.of([a / b for a, b in zip(least, way.wall, strict=True)]),
            "roofline_share_of_steps": Spread.of(
                [a / b.stepping for a, b in zip(least, way.results, strict=True)]
            ),
            "loss": way.results[-1].loss,
            "peak_bytes": Spread.of([phase.peak for phase in way.results]),
        }
        for name, way in {"ours": ours, "plain": other}.items()
    }
    return {
        "ways": by_way,
        "ratio": Spread.of([a / b for a, b in zip(other.wall, ours.wall, strict=True)]),
        "ratio_of_cpu": Spread.of([a / b for a, b in zip(other.cpu, ours.cpu, strict=True)]),
        "loss_difference": abs(ours.results[-1].loss - other.results[-1].loss),
        "operations_needed": needed,
        "rate": Spread.of(rates),
        "rounds": len(rates),
    }


def _show(report: dict[str, Any]) -> None:
    for name, way in report["ways"].items():
        print(
            f"{name:>7}: {way['completion_tokens_per_second']:.1f} completion tokens/s, "
            f"{way['wall_seconds']:.1f} s of which {way['stepping_seconds']:.1f} s of steps, "
            f"peak {way['peak_bytes'].scaled(1e-9):.2f} GB, loss {way['loss']:.6f}"
        )
        print(
            f"         {way['roofline_share']:.0%} of the roofline, "
            f"{way['roofline_share_of_steps']:.0%} during the steps"
        )
    rates = report["rate"].scaled(1e-9)
    print(f"ratio of wall time: {report['ratio']:.2f}; of CPU: {report['ratio_of_cpu']:.2f}")
    print(f"losses differ by {report['loss_difference']:.1e}")
    print(f"needed: {report['operations_needed'] / 1e9:.0f} GFLOP at {rates:.0f} GFLOP/s", end="; ")
    for kind, rate in report["rate_of_other_type"].items():
        print(f"{kind} here: {rate / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
