"""From settings to a forecast: reads prompts and model, measures, rehearses, and lets it add up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import ModelFault, UserError
from halo_forge.core.types import Prompt, Sample, TrainingExample
from halo_forge.engines.base import EngineSpec
from halo_forge.models.roofline import Shape, step_work, training_work
from halo_forge.rlvr.expectation import assume, expect_like
from halo_forge.rlvr.forecast import forecast, rows_of, usual_positions
from halo_forge.rlvr.judges import make_verifier
from halo_forge.rlvr.material import read_material
from halo_forge.rlvr.planned import Forecast, Job, Judging, Machine, Trials
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.tracking.base import Observer
from halo_forge.utils import hardware
from halo_forge.utils.kernel_facts import available_cores
from halo_forge.utils.text import fenced

__all__ = ["survey"]

_SECONDS = 8.0
# What decoding and training reach of the roofline, about: only to choose how much is rehearsed.
_USUAL_SHARE = 0.35
_FEWEST_LAYERS = 4
_LONGEST_ANSWER = 512
_STEPS_TRIED = 21
_JUDGED_A_CORE = 6
_JUDGING_SECONDS = 10.0


def survey(
    config: RaftConfig, like: Path | None, observer: Observer, *, importing: float = 0.0
) -> Forecast:
    """Return what a run with ``config`` will take on this machine.

    Args:
        config: Settings of the run.
        like: An earlier run whose answers are expected again; bounds are taken when absent.
        observer: Told what is being done.
        importing: Seconds that a run's process takes until its libraries are there.

    Raises:
        UserError: If an input is wrong, or generating is not the decoder's work.
        ModelFault: If the model cannot be had.
    """
    if config.generation.engine != "transformers":
        raise UserError(
            f"generation.engine = {config.generation.engine}: a plan is made for the engine "
            "transformers alone, what others take is not known here"
        )
    floor = psutil.Process().memory_info().rss
    observer.message("reading the prompts")
    material = read_material(config)
    prompts = material.prompts
    if any(prompt.images for prompt in (*prompts, *material.heldout)):
        raise UserError("a plan is made for prompts of text alone: what images take is not known")
    if config.raft.num_cycles == 0 and not material.heldout:
        raise UserError(
            "nothing is to be done: no cycles (--cycles 0) and no held-out prompts (--eval-prompts)"
        )
    job = _job(config, prompts, material.heldout, like)
    start = config.sft_checkpoint or config.model.name
    shape = _shape(config, start)
    machine = _machine(config, start, floor, observer)
    try:
        rows = rows_of(job, machine, shape)
    except ModelFault:
        return forecast(job, machine, shape, None)
    layers = _layers_to_try(job, machine, shape, rows[0])
    trials = None
    if _fits(shape.cut(layers), machine):
        observer.message(f"rehearsing with {layers} of {shape.layers} layers")
        trials = _rehearse(config, start, job, shape.cut(layers), rows)
        observer.message("judging answers")
        judging = _judge(config, prompts, job.expected.texts)
        trials = replace(trials, importing=importing, judging=judging)
    return forecast(job, machine, shape, trials)


def _job(
    config: RaftConfig, prompts: Sequence[Prompt], heldout: Sequence[Prompt], like: Path | None
) -> Job:
    from halo_forge.models import chat, load

    tokenizer = load.load_tokenizer(
        config.sft_checkpoint or config.model.name,
        trust_remote_code=config.model.trust_remote_code,
    )
    asked, apart = (
        [len(chat.render(tokenizer, one.messages)) for one in group] for group in (prompts, heldout)
    )
    expected = (
        assume(config, asked, apart)
        if like is None
        else expect_like(config, like, len(asked), len(apart))
    )
    return Job(
        prompts=asked,
        samples=config.raft.samples_per_prompt,
        adaptive=config.generation.sampling == "adaptive",
        heldout=apart,
        heldout_samples=config.evaluation.samples_per_prompt,
        cycles=config.raft.num_cycles,
        new_tokens=config.generation.max_new_tokens,
        rows=config.generation.batch_size,
        kv_limit=config.hardware.kv_cache_gb,
        epochs=config.training.epochs,
        batch=config.training.batch_size,
        reference=config.raft.kl_coef > 0,
        checkpointing=config.hardware.gradient_checkpointing,
        expected=expected,
    )


def _shape(config: RaftConfig, start: str) -> Shape:
    from halo_forge.models.shape import shape_of

    return shape_of(start, config.lora, trust_remote_code=config.model.trust_remote_code)


def _machine(config: RaftConfig, start: str, floor: int, observer: Observer) -> Machine:
    from halo_forge.engines.packed import can_pack
    from halo_forge.engines.row_cache import position_bytes
    from halo_forge.models.load import load_skeleton, pick_device, pick_dtype
    from halo_forge.models.memory import free_memory
    from halo_forge.models.refs import base_ref
    from halo_forge.models.speed import known_rates

    seen = hardware.probe()
    device = pick_device(config.hardware.device)
    dtype = pick_dtype(config.hardware.bf16, device)
    observer.message("measuring matrix products and memory")
    rates = known_rates(dtype, device)
    skeleton: Any = load_skeleton(base_ref(start), trust_remote_code=config.model.trust_remote_code)
    apart = device.type == "cuda" and not any(gpu.unified for gpu in seen.gpus)
    own = 0 if apart else psutil.Process().memory_info().rss
    return Machine(
        device=device.type,
        rates=rates,
        free=free_memory(device, seen) + own,
        floor=0 if apart else floor,
        disk=hardware.disk_free(Path(config.output_dir)),
        number=dtype.itemsize,
        position=position_bytes(skeleton.to(dtype)),
        packs=device.type == "cpu" and dtype.itemsize == 4 and can_pack(),
    )


def _layers_to_try(job: Job, machine: Machine, shape: Shape, rows: int) -> int:
    """Return how many layers can be rehearsed within some seconds, by the roofline."""
    step = step_work(shape, rows, _positions(job), machine.number).seconds(machine.rates)
    training = training_work(shape, [_answer(job)] * job.batch).seconds(machine.rates)
    whole = (step * _STEPS_TRIED + training) / _USUAL_SHARE
    return max(
        min(_FEWEST_LAYERS, shape.layers), min(shape.layers, int(shape.layers * _SECONDS / whole))
    )


def _fits(cut: Shape, machine: Machine) -> bool:
    """Tell whether what is rehearsed leaves half of the memory alone."""
    return 2 * (4 * cut.parameters + 16 * (cut.adapters or cut.parameters)) < machine.free


def _positions(job: Job) -> int:
    low, high = job.expected.low.lengths, job.expected.high.lengths
    return usual_positions(job.prompts, [*low, *high])


def _answer(job: Job) -> tuple[int, int]:
    """Return the tokens of a usual answer, and those of its completion."""
    kept = [*job.expected.low.kept, *job.expected.high.kept]
    length = sum(tokens for tokens, _ in kept) // len(kept)
    said = sum(completion for _, completion in kept) // len(kept)
    return min(length, _LONGEST_ANSWER), max(1, min(said, _LONGEST_ANSWER - 1))


def _rehearse(config: RaftConfig, start: str, job: Job, cut: Shape, rows: list[int]) -> Trials:
    from halo_forge.models.cut import first_layers
    from halo_forge.models.quiet import no_loading_reports
    from halo_forge.sft.base import FitRequest
    from halo_forge.sft.rehearsal import rehearse_decoding, rehearse_training

    trust = config.model.trust_remote_code
    length, said = _answer(job)
    prompt = (1,) * (sum(job.prompts) // len(job.prompts))
    # the layers that are left out are reported as unexpected weights, which they are meant to be
    with no_loading_reports(), first_layers(start, cut.layers) as folder:
        spec = EngineSpec(str(folder), config.generation, config.hardware, trust_remote_code=trust)
        decoding = rehearse_decoding(spec, prompt, rows, _positions(job))
        request = FitRequest(
            policy=str(folder),
            output=folder / "policy",
            learning_rate=config.training.learning_rate,
            seed=config.seed,
            training=config.training,
            lora=config.lora,
            hardware=config.hardware,
            trust_remote_code=trust,
            meta={},
        )
        example = TrainingExample("usual", (1,) * length, completion_start=max(1, length - said))
        training = rehearse_training(request, example)
    return Trials(
        shape=cut,
        importing=0.0,
        positions=_positions(job),
        prompt=len(prompt),
        answer=(length, min(said, length - 1)),
        decoding=decoding,
        training=training,
        judging=None,
    )


def _judge(
    config: RaftConfig, prompts: Sequence[Prompt], answers: Sequence[Sample]
) -> Judging | None:
    """Judge answers, or failing those reference solutions: a few to warm up, others by the clock.

    Args:
        config: Settings of the run.
        prompts: Its training prompts.
        answers: Of an earlier run, in an order by chance; there may be none.
    """
    settings = config.verifier.model_copy(update={"verdict_cache": None})
    samples = list(answers) or [
        Sample(prompt, 0, fenced(prompt.reference.solution, prompt.language or ""))
        for prompt in prompts
        if prompt.reference.solution
    ]
    cores = available_cores()
    first = min(len(samples) // 4 + 1, cores)
    timed = samples[first : first + _JUDGED_A_CORE * cores]
    if not timed:
        return None
    with ExitStack() as stack:
        started = time.perf_counter()
        verifier = stack.enter_context(make_verifier(settings))
        verifier.start(list({one.prompt.id: one.prompt for one in samples}.values()))
        ready = time.perf_counter()
        list(judge_all(verifier, samples[:first]))
        warm = time.perf_counter()
        judged = list(judge_all(verifier, _until(warm + _JUDGING_SECONDS, timed)))
        each = (time.perf_counter() - warm) / len(judged)
    return Judging(ready - started, each)


def _until(end: float, samples: Sequence[Sample]) -> Iterator[Sample]:
    """Yield samples, at least one, until the clock says so: answers may run into time limits."""
    for number, sample in enumerate(samples):
        if number and time.perf_counter() > end:
            return
        yield sample
