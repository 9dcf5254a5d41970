"""The nouns of a plan: what is asked for, what it is done with, and what it will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from halo_forge.models.roofline import Rates, Shape
from halo_forge.rlvr.expectation import Expectation
from halo_forge.sft.rehearsal import DecodingTrial, TrainingTrial

__all__ = ["Forecast", "Job", "Judging", "Machine", "Stage", "Trials"]


@dataclass(frozen=True, slots=True)
class Job:
    """What the run is asked to do.

    Attributes:
        prompts: Tokens of each training prompt.
        samples: Answers to each; the most, where the budget is adaptive.
        adaptive: Whether a prompt may get fewer.
        heldout: Tokens of each held-out prompt.
        heldout_samples: Answers to each.
        cycles: Cycles.
        new_tokens: Longest answer.
        rows: Answers decoded together when they fit.
        kv_limit: GiB that keys and values may take; None leaves it to what is free.
        epochs: Passes over the kept answers.
        batch: Answers in one forward pass.
        reference: Whether the start model reads the kept answers too, for the divergence from it.
        checkpointing: ``auto``, ``on`` or ``off``.
        expected: Lengths of answers, and how many are trained on.
    """

    prompts: Sequence[int]
    samples: int
    adaptive: bool
    heldout: Sequence[int]
    heldout_samples: int
    cycles: int
    new_tokens: int
    rows: int
    kv_limit: float | None
    epochs: int
    batch: int
    reference: bool
    checkpointing: str
    expected: Expectation


@dataclass(frozen=True, slots=True)
class Machine:
    """What it is done with.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``.
        rates: Roofline.
        free: Bytes of the device that the run may take.
        floor: Bytes that the process takes before it loads a model; 0 if the device has its own.
        disk: Free bytes where the run is kept.
        number: Bytes of a weight, of a key and of a value.
        position: Bytes that keys and values of a position take.
        packs: The decoder packs weights here when there is room.
    """

    device: str
    rates: Rates
    free: int
    floor: int
    disk: int
    number: int
    position: int
    packs: bool


@dataclass(frozen=True, slots=True)
class Judging:
    """What verdicts take on an idle machine.

    Attributes:
        start: Seconds until the verifier could begin.
        each: Seconds an answer, all workers at work.
    """

    start: float
    each: float


@dataclass(frozen=True, slots=True)
class Trials:
    """What was rehearsed, on the first layers of the model.

    Attributes:
        shape: Of those layers.
        importing: Seconds until the libraries were there.
        positions: Positions that rehearsed rows looked back on.
        prompt: Tokens of the rehearsed prompt.
        answer: Tokens of the rehearsed training answer, and those of its completion.
        decoding: What decoding took.
        training: What training took.
        judging: What verdicts took; None if no prompt has a solution to judge.
    """

    shape: Shape
    importing: float
    positions: int
    prompt: int
    answer: tuple[int, int]
    decoding: DecodingTrial
    training: TrainingTrial
    judging: Judging | None


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the run.

    Attributes:
        name: What it is called.
        times: How often it is done.
        memory: Bytes by what takes them, when it takes most.
        seconds: What it takes each time, at the least and at the most expected; None without a
            rehearsal.
        least: Seconds below which this machine cannot do what is expected at the most.
        limit: What decides about its time.
        note: How it will be done.
    """

    name: str
    times: int
    memory: Mapping[str, int] = field(default_factory=dict)
    seconds: tuple[float, float] | None = None
    least: float = 0.0
    limit: str = ""
    note: str = ""

    @property
    def peak(self) -> int:
        """Bytes in all."""
        return sum(self.memory.values())


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run will take.

    Attributes:
        stages: In the order of a cycle.
        disk: Bytes by what takes them, for all cycles.
        free: Bytes of memory that the run may take.
        disk_free: Free bytes on its disk.
        problems: What does not fit, and what to change.
        assumptions: What the figures rest on.
    """

    stages: tuple[Stage, ...]
    disk: Mapping[str, int]
    free: int
    disk_free: int
    problems: tuple[str, ...]
    assumptions: tuple[str, ...]

    @property
    def peak(self) -> int:
        """Bytes of memory when the run takes most."""
        return max(stage.peak for stage in self.stages)

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Seconds of the whole run, at the least and at the most expected."""
        known = [(stage.seconds, stage.times) for stage in self.stages if stage.times]
        if any(seconds is None for seconds, _ in known):
            return None
        low, high = (sum(s[end] * n for s, n in known if s) for end in (0, 1))
        return low, high
