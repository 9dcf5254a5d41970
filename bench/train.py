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
import ctypes
import gc
import json
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import plain
import torch
from measure import Measured, Spread, interleave
from torch import nn

from halo_forge.config.load import load_config
from halo_forge.config.raft import RaftConfig
from halo_forge.core.types import TrainingExample
from halo_forge.data.builtin import load_builtin
from halo_forge.models import load
from halo_forge.models.chat import render
from halo_forge.models.lora import add_lora
from halo_forge.models.structure import backbone, output_layer
from halo_forge.sft.base import FitRequest
from halo_forge.sft.learner import TrlLearner
from halo_forge.tracking.base import NullObserver
from halo_forge.utils.hardware import describe
from halo_forge.utils.text import fenced
from halo_forge.utils.typing import override

__all__ = ["main"]

_RATE_SIZE, _RATE_TRIES = 2048, 8


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


class _Clock(NullObserver):
    """Times the stage of a phase."""

    seconds = 0.0

    @contextmanager
    @override
    def stage(self, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        yield self
        self.seconds = time.perf_counter() - started

    @override
    def message(self, text: str) -> None:
        print(f"   ours: {text}")


def main() -> None:
    """Train both ways in turn and print what it took."""
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
        about = {
            "command": shlex.join(["python", *sys.argv]),
            "machine": describe(),
            "torch": torch.__version__,
            "type": str(dtype),
            "lengths": lengths,
        }
        options.json.write_text(json.dumps(about | report, indent=2, default=asdict) + "\n")


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
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder, _Peak() as peak:
        output = Path(folder, "adapter")
        report = TrlLearner().fit(examples, replace(request, output=output), clock)
    print(f"   ours: {clock.seconds:.1f} s of steps")
    return Phase(report.loss, report.tokens, clock.seconds, peak.bytes)


def _plain(
    examples: Sequence[TrainingExample], request: FitRequest, width: int, size: int
) -> Phase:
    with tempfile.TemporaryDirectory() as folder, _Peak() as peak:
        done = plain.train(examples, replace(request, output=Path(folder)), width, size)
    tokens = sum(len(e.input_ids) - e.completion_start for e in examples)
    print(f"  plain: {done.stepping:.1f} s of steps")
    return Phase(done.loss, tokens, done.stepping, peak.bytes)


class _Peak:
    """The most memory at once within a block: what Linux or the card's driver counted."""

    bytes = 0

    def __enter__(self) -> _Peak:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        else:
            ctypes.CDLL(None).malloc_trim(0)  # what the other way freed is not ours
            Path("/proc/self/clear_refs").write_text("5")  # proc_pid_clear_refs(5): resets VmHWM
        return self

    def __exit__(self, *error: object) -> None:
        if torch.cuda.is_available():
            self.bytes = torch.cuda.max_memory_allocated()
            return
        status = Path("/proc/self/status").read_text()
        self.bytes = int(status.split("VmHWM:")[1].split()[0]) * 1024


def _noted(rates: list[float], dtype: torch.dtype, device: torch.device) -> Phase:
    rates.append(_rate(dtype, device))
    return Phase(0.0, 0, 0.0, 0)


def _rate(dtype: torch.dtype, device: torch.device) -> float:
    """Return the operations a second of the best of some large matrix products."""
    left, right = (
        torch.randn(_RATE_SIZE, _RATE_SIZE, dtype=dtype, device=device) for _ in range(2)
    )
    best = float("inf")
    for _ in range(_RATE_TRIES):
        started = time.perf_counter()
        product = left @ right
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - started)
    return float(2 * _RATE_SIZE**3 / best)


def _operations(examples: Sequence[TrainingExample], request: FitRequest) -> float:
    """Return the floating-point operations that training on the answers needs.

    A product with frozen weights needs 2 a weight and token forward and 2 for the gradient of its
    input; with trained ones 2 more for their own. Causal attention has half of all pairs.
    """
    model = add_lora(load.load_skeleton(request.policy), request.lora, seed=0)
    head = output_layer(model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    linear = sum(
        m.weight.numel()
        for m in backbone(model).modules()
        if isinstance(m, nn.Linear) and not m.weight.requires_grad
    )
    settings = model.config
    size = getattr(settings, "head_dim", settings.hidden_size // settings.num_attention_heads)
    wide = settings.num_hidden_layers * settings.num_attention_heads * size
    total = 0.0
    for example in examples:
        tokens = len(example.input_ids)
        said = tokens - example.completion_start
        total += (4 * linear + 6 * trained) * tokens + 4 * head.weight.numel() * said
        total += 3 * 4 * wide * tokens * tokens / 2
    return total


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
