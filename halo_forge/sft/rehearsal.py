"""A few seconds of the real thing: the decoder and the learner at work, timed.

The roofline says what a machine could do, not what attention over short rows, sampling and a
hundred small kernels leave of it. So a few steps are made at the rows and positions of the run
that is planned, by the code that the run uses, on the model itself or on its first layers.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from halo_forge.core.types import TrainingExample
from halo_forge.engines.base import EngineSpec
from halo_forge.engines.decoder import DecoderEngine
from halo_forge.engines.sampling import draw
from halo_forge.models.load import pick_device, pick_dtype
from halo_forge.models.memory import Peak
from halo_forge.sft.base import FitRequest
from halo_forge.sft.learner import TrlLearner, load_trainable
from halo_forge.sft.memory import Activations, weigh
from halo_forge.tracking.base import StageClock

__all__ = ["DecodingTrial", "TrainingTrial", "rehearse_decoding", "rehearse_training"]

_STEPS = 7


@dataclass(frozen=True, slots=True)
class DecodingTrial:
    """What decoding took.

    Attributes:
        opening: Seconds until the engine could begin.
        prefill: Seconds of running the prompt.
        steps: Seconds of a step, by the number of rows.
        packing: Seconds by which the first step with another number of rows is longer.
    """

    opening: float
    prefill: float
    steps: dict[int, float]
    packing: float


@dataclass(frozen=True, slots=True)
class TrainingTrial:
    """What training took.

    Attributes:
        around: Seconds of loading, trying out and writing, whatever is trained on.
        answer: Seconds of one answer, forward and backward, among those of a full pass.
        activations: What a forward pass keeps for the backward one.
        written: Bytes of the checkpoint.
        grown: Bytes by which the process or the card grew at the most; None if nothing tells.
    """

    around: float
    answer: float
    activations: Activations
    written: int
    grown: int | None = None


def rehearse_decoding(
    spec: EngineSpec, prompt: Sequence[int], rows: Sequence[int], positions: int
) -> DecodingTrial:
    """Decode a few steps with each number of ``rows``.

    Args:
        spec: Policy and settings of the run.
        prompt: Tokens of a prompt of usual length.
        rows: Numbers of rows, each a multiple of the decoder's step.
        positions: Positions that each row looks back on.

    Raises:
        ModelFault: If the model cannot be loaded, or the memory does not suffice.
    """
    started = time.perf_counter()
    with DecoderEngine(spec) as engine:
        opening = time.perf_counter() - started
        prefill = min(_seconds(engine, prompt) for _ in range(2))
        long = (list(prompt) * (positions // len(prompt) + 1))[:positions]
        steps, firsts = {}, []
        for count in rows:
            times = _step_seconds(engine, long, count)
            steps[count] = statistics.median(times[1:])
            firsts.append(times[0] - steps[count])
    return DecodingTrial(opening, prefill, steps, max(0.0, statistics.median(firsts)))


def _seconds(engine: DecoderEngine, prompt: Sequence[int]) -> float:
    started = time.perf_counter()
    logits = engine.prefill(tuple(prompt)).logits
    logits[0, 0].item()  # waits for the device
    return time.perf_counter() - started


def _step_seconds(engine: DecoderEngine, prompt: Sequence[int], rows: int) -> list[float]:
    prefix = engine.prefill(tuple(prompt))
    cache = engine.new_cache(rows, len(prompt) + _STEPS + 1)
    for row in range(rows):
        cache.load(row, prefix.cache, len(prompt), prefix.shift)
    uniform = torch.linspace(0.1, 0.9, rows, device=prefix.logits.device)
    tokens, _ = draw(prefix.logits.expand(rows, -1), engine.law, uniform)
    times = []
    for _ in range(_STEPS):
        started = time.perf_counter()
        logits = engine.forward(tokens, cache)
        cache.advance(rows)
        tokens, logprobs = draw(logits, engine.law, uniform)
        torch.stack([tokens.float(), logprobs]).tolist()  # as the decoder learns what was drawn
        times.append(time.perf_counter() - started)
    return times


def rehearse_training(request: FitRequest, example: TrainingExample) -> TrainingTrial:
    """Train on as many copies of ``example`` as a forward pass holds, and throw the result away.

    Args:
        request: Policy and settings of the run; its output is not written.
        example: An answer of usual length.

    Raises:
        ModelFault: If the model cannot be loaded.
    """
    device = pick_device(request.hardware.device)
    activations = weigh(load_trainable(request, device), pick_dtype(request.hardware.bf16, device))
    size = request.training.batch_size
    clock, answers = (
        StageClock("train"),
        [replace(example, id=str(number)) for number in range(size)],
    )
    training = request.training.model_copy(update={"epochs": 1, "gradient_accumulation_steps": 1})
    with tempfile.TemporaryDirectory(prefix="halo-forge-") as folder:
        output = Path(folder, "policy")
        one_step = replace(request, output=output, training=training)
        with Peak(device) as peak:
            report = TrlLearner().fit(answers, one_step, clock)
        written = sum(path.stat().st_size for path in output.iterdir())
    return TrainingTrial(
        around=report.seconds - clock.seconds,
        answer=clock.seconds / size,
        activations=activations,
        written=written,
        grown=None if peak.bytes is None else peak.bytes - peak.before,
    )
