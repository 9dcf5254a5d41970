"""What a run will take: memory, time and disk by stage, as arithmetic over what was measured.

Memory is counted by what the decoder and the learner count by: admission of rows, packed weights,
activations, chunks of logits. Time is the roofline of the work, divided by the share of it that a
rehearsal of the same work reached. Nothing here measures.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from halo_forge.core.errors import ModelFault
from halo_forge.engines.admission import admit, room
from halo_forge.engines.occupancy import occupancy
from halo_forge.engines.packed import room_to_pack
from halo_forge.engines.row_cache import whole_windows
from halo_forge.models.roofline import (
    Shape,
    Work,
    decode_work,
    prefill_work,
    step_work,
    training_work,
)
from halo_forge.rlvr.expectation import Answers
from halo_forge.rlvr.footprint import disk_of
from halo_forge.rlvr.planned import Forecast, Job, Machine, Stage, Trials
from halo_forge.sft.batches import heaviest_batch
from halo_forge.sft.loss import chunk_bytes
from halo_forge.sft.memory import Activations, recomputes, trained_bytes

__all__ = ["forecast", "rows_of", "usual_positions"]

_LOGITS = 3
# Copies of a step's logits that exist at once: the model's, the tempered, their probabilities.
_AGAIN = 4 / 3
# Recomputing activations adds a forward pass to one forward and one twice as long backward.


@dataclass(frozen=True, slots=True)
class _Group:
    """Prompts that are decoded together: their tokens and samples, and the rows for them."""

    prompts: tuple[tuple[int, int], ...]
    rows: int
    length: int

    @property
    def answers(self) -> int:
        return sum(samples for _, samples in self.prompts)


def forecast(job: Job, machine: Machine, shape: Shape, trials: Trials | None) -> Forecast:
    """Return what the run will take.

    Args:
        job: What it is asked to do.
        machine: What it is done with.
        shape: The model.
        trials: What was rehearsed; without it there are no seconds, and no activations.
    """
    problems: list[str] = []
    held = _decoder_memory(machine, shape)
    left = machine.free - sum(held.values())
    if left <= 0:
        problems.append(
            f"memory: process and weights take {_gib(sum(held.values()))}, the run may take "
            f"{_gib(machine.free)}. Take a smaller model, or free memory."
        )
    stages = [Stage("start", 1, seconds=_start(trials))]
    for name, prompts, times in _passes(job):
        try:
            groups = list(_admitted(job, machine, prompts, max(left, 1)))
        except ModelFault as error:
            problems.append(f"{name}: {error}")
            groups = []
        stages += _pass_stages(name, times, groups, (job, machine, shape, trials), held)
        if name == "rollout":
            stages.append(_training(job, machine, shape, trials))
    training = next(stage for stage in stages if stage.name == "training")
    if training.peak > machine.free and left > 0:
        problems.append(
            f"training: {_gib(training.peak)} wanted, the run may take {_gib(machine.free)}. Set "
            "hardware.gradient_checkpointing to on, lower training.batch_size or "
            "generation.max_new_tokens, or train adapters (lora.enabled)."
        )
    disk = disk_of(job, shape, trials)
    if sum(disk.values()) > machine.disk:
        problems.append(
            f"disk: {_gib(sum(disk.values()))} wanted, {_gib(machine.disk)} free. Free some, put "
            "output_dir on another disk, or run fewer cycles."
        )
    return Forecast(
        stages=tuple(stages),
        disk=disk,
        free=machine.free,
        disk_free=machine.disk,
        problems=tuple(problems),
        assumptions=tuple(_assumptions(job, trials)),
    )


def rows_of(job: Job, machine: Machine, shape: Shape) -> list[int]:
    """Return the numbers of rows worth rehearsing: the most that is decoded, half of it, a few.

    Raises:
        ModelFault: If not even the fewest rows fit.
    """
    left = machine.free - sum(_decoder_memory(machine, shape).values())
    most = max(
        group.rows
        for _, prompts, times in _passes(job)
        if times
        for group in _admitted(job, machine, prompts, max(left, 1))
    )
    return sorted({most, max(8, most // 16 * 8), 8}, reverse=True)


def usual_positions(prompts: Sequence[int], lengths: Sequence[int]) -> int:
    """Return the positions that a token of an answer looks back on, on average over tokens."""
    mean = sum(prompts) / len(prompts)
    tokens = sum(lengths)
    return round(mean + sum(n * n for n in lengths) / (2 * max(tokens, 1)))


def _passes(job: Job) -> Iterator[tuple[str, list[tuple[int, int]], int]]:
    """Yield the passes over prompts: name, tokens and samples of each prompt, how often."""
    yield "rollout", [(n, job.samples) for n in job.prompts], job.cycles
    if job.heldout:
        yield "held-out", [(n, job.heldout_samples) for n in job.heldout], job.cycles + 1


def _admitted(
    job: Job, machine: Machine, prompts: Sequence[tuple[int, int]], free: int
) -> Iterator[_Group]:
    """Yield the batches that the decoder would make of the prompts."""
    queue = sorted(prompts, reverse=True)
    budget = room(job.kv_limit, free)
    while queue:
        needs = [(whole_windows(n + job.new_tokens), samples) for n, samples in queue]
        count, rows = admit(needs, job.rows, machine.position, budget)
        yield _Group(tuple(queue[:count]), rows, needs[0][0])
        queue = queue[count:]


def _decoder_memory(machine: Machine, shape: Shape) -> dict[str, int]:
    held = {"process": machine.floor, "weights": shape.parameters * machine.number}
    copy = (shape.linear + shape.head) * machine.number
    if machine.packs and room_to_pack(copy, machine.free - sum(held.values())):
        held["packed weights"] = copy
    return held


def _pass_stages(
    name: str,
    times: int,
    groups: Sequence[_Group],
    known: tuple[Job, Machine, Shape, Trials | None],
    held: Mapping[str, int],
) -> Iterator[Stage]:
    """Yield generating and, after it, verifying as far as it takes longer."""
    job, machine, shape, trials = known
    rows = max((group.rows for group in groups), default=0)
    memory = {
        **held,
        "keys and values": max((g.rows * g.length for g in groups), default=0) * machine.position,
        "logits of a step": _LOGITS * 4 * rows * shape.vocabulary,
    }
    ends = [_lengths(answers, name) for answers in (job.expected.low, job.expected.high)]
    works = [_generating(groups, lengths, shape, machine.number) for lengths in ends]
    least = works[1].seconds(machine.rates)
    limit = works[1].limit(machine.rates)
    seconds = None
    if trials is not None and groups:
        low, high = (_decoding_seconds(groups, lengths, known) for lengths in ends)
        seconds = low, high
        limit += f", {least / high:.0%} of the roofline"
    yield Stage(name, times, memory, seconds, least, limit, f"{rows} rows")
    if trials is not None and trials.judging is not None and seconds is not None:
        each = trials.judging.each
        taken = [_lengthened(each * len(ends[i]), seconds[i], machine) for i in (0, 1)]
        yield Stage(
            f"verification, {name}",
            times,
            {},
            (taken[0], taken[1]),
            limit="processor cores" if machine.device == "cpu" else "hidden behind generation",
            note=f"{each * 1e3:.0f} ms an answer",
        )


def _lengths(answers: Answers, name: str) -> tuple[int, ...]:
    return answers.lengths if name == "rollout" else answers.heldout


def _generating(groups: Sequence[_Group], lengths: Sequence[int], shape: Shape, size: int) -> Work:
    """Return the work of prompts and answers."""
    total = Work()
    for group, own in _split(groups, lengths):
        tokens = sum(own)
        prompts = [prompt for prompt, _ in group.prompts]
        seen = tokens * usual_positions(prompts, own)
        total += decode_work(shape, tokens, seen, tokens / group.rows, size)
        for prompt in prompts:
            total += prefill_work(shape, prompt, size)
    return total


def _split(
    groups: Sequence[_Group], lengths: Sequence[int]
) -> Iterator[tuple[_Group, Sequence[int]]]:
    rest = iter(lengths)
    for group in groups:
        yield group, list(itertools.islice(rest, group.answers))


def _decoding_seconds(
    groups: Sequence[_Group],
    lengths: Sequence[int],
    known: tuple[Job, Machine, Shape, Trials | None],
) -> float:
    _, machine, shape, trials = known
    assert trials is not None
    size, rates, trial = machine.number, machine.rates, trials.decoding
    grown = shape.parameters / trials.shape.parameters
    rehearsed = prefill_work(trials.shape, trials.prompt, size).one_by_one(rates)
    total = trial.opening * grown
    for group, own in _split(groups, lengths):
        prompts = [prompt for prompt, _ in group.prompts]
        for prompt in prompts:
            least = prefill_work(shape, prompt, size).one_by_one(rates)
            total += least * trial.prefill / rehearsed
        positions = usual_positions(prompts, own)
        times = {
            rows: seconds
            * step_work(shape, rows, positions, size).one_by_one(rates)
            / step_work(trials.shape, rows, trials.positions, size).one_by_one(rates)
            for rows, seconds in trial.steps.items()
        }
        steps = occupancy(own, group.rows)
        total += sum(count * _between(times, rows) for rows, count in steps.items())
        total += len(steps) * trial.packing * grown
    return total


def _between(times: Mapping[int, float], rows: int) -> float:
    """Return the time for ``rows``, on a line between those that were tried."""
    known = sorted(times)
    below = max((n for n in known if n <= rows), default=known[0])
    above = min((n for n in known if n >= rows), default=known[-1])
    if below == above:
        return times[below]
    share = (rows - below) / (above - below)
    return times[below] + share * (times[above] - times[below])


def _lengthened(judging: float, generating: float, machine: Machine) -> float:
    """Return the seconds by which judging makes a pass longer.

    On a processor both want the same cores; beside a card the cores have nothing else to do.
    """
    return judging if machine.device == "cpu" else max(0.0, judging - generating)


def _training(job: Job, machine: Machine, shape: Shape, trials: Trials | None) -> Stage:
    low, high = job.expected.low.kept, job.expected.high.kept
    heaviest = heaviest_batch([length for length, _ in high], job.batch, padded=False)
    completions = sum(sorted((said for _, said in high), reverse=True)[: job.batch])
    memory = {"process": machine.floor, **_standing(shape, machine, completions)}
    again, kept = False, 0
    if trials is not None:
        grown = shape.layers / trials.shape.layers
        found = trials.training.activations
        whole = Activations(found.linear * grown, found.quadratic * grown)
        kept = whole.of(heaviest)
        loss = _loss_of_allocating(job, machine, trials)
        left = machine.free - memory["process"] - memory["weights"]
        again = recomputes(job.checkpointing, kept + memory["gradients and moments"], left)
        if again:  # the inputs of all layers, and one layer in full
            kept = kept // shape.layers + sum(heaviest) * shape.width * shape.layers * 4
        memory["activations"] = kept
        memory["between activations"] = int(kept * loss)
    works = [
        training_work(shape, answers, reference=job.reference) * job.epochs
        for answers in (low, high)
    ]
    least = works[1].seconds(machine.rates)
    limit, seconds = works[1].limit(machine.rates), None
    if trials is not None:
        rehearsed = training_work(trials.shape, [trials.answer]).seconds(machine.rates)
        dearer = trials.training.answer / rehearsed
        dearer *= _AGAIN if again and job.checkpointing == "auto" else 1.0
        around = trials.training.around * shape.parameters / trials.shape.parameters
        ends = [around + work.seconds(machine.rates) * dearer for work in works]
        seconds = ends[0], ends[1]
        limit += f", {least / ends[1]:.0%} of the roofline"
    note = f"{len(low)} to {len(high)} answers" if low != high else f"{len(high)} answers"
    note += ", activations recomputed" if again else ""
    return Stage("training", job.cycles, memory, seconds, least, limit, note)


def _standing(shape: Shape, machine: Machine, completions: int) -> dict[str, int]:
    """Return what training takes besides activations.

    Args:
        shape: The model.
        machine: What it is trained with.
        completions: Completion tokens in the heaviest forward pass.
    """
    number = machine.number if shape.adapters else 4
    return {
        "weights": shape.parameters * number + shape.adapters * 4,
        "gradients and moments": trained_bytes(shape.adapters or shape.parameters),
        "logits of a chunk": chunk_bytes(completions, shape.vocabulary)
        + (0 if shape.adapters else shape.head * 4),
    }


def _loss_of_allocating(job: Job, machine: Machine, trials: Trials) -> float:
    """Return what an allocator loses between activations, as a share of them, by the rehearsal.

    Tensors of many sizes come and go while others stay; the holes that remain are not all used.
    """
    trial = trials.training
    if trial.grown is None:
        return 0.0
    length, said = trials.answer
    kept = trial.activations.of([length] * job.batch)
    beside = sum(_standing(trials.shape, machine, said * job.batch).values())
    return max(0.0, (trial.grown - beside) / kept - 1)


def _start(trials: Trials | None) -> tuple[float, float] | None:
    if trials is None:
        return None
    seconds = trials.importing + (trials.judging.start if trials.judging else 0.0)
    return seconds, seconds


def _assumptions(job: Job, trials: Trials | None) -> Iterator[str]:
    yield job.expected.words
    if job.adaptive:
        yield f"each prompt gets all {job.samples} answers; the adaptive budget spares some"
    if trials is None:
        yield "nothing was rehearsed: no seconds, no activations"
        return
    if trials.judging is None:
        yield "verification is left out: no prompt has a reference solution to try it on"
    elif job.expected.texts:
        yield "verdicts take as long as those on answers of that run"
    else:
        yield (
            "verdicts take as long as those on the prompts' reference solutions; answers that run "
            "into time limits take longer"
        )


def _gib(number: float) -> str:
    return f"{number / 2**30:.2f} GiB"
