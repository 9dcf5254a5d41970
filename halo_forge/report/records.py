"""What a run directory says about itself, read through a typed door."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from halo_forge.config.document import read_yaml
from halo_forge.core.errors import StoreFault, UserError
from halo_forge.stats import Estimate, Paired
from halo_forge.store.run_dir import RunDir

__all__ = [
    "Cycle",
    "Decision",
    "Gap",
    "Heldout",
    "Reach",
    "Run",
    "find_runs",
    "is_run",
    "read_run",
]

_DEPTH = 2
_VERIFIED = "none"
_CYCLES = "raft.num_cycles"


class _Record(BaseModel):
    """Figures that a run wrote; what a later version adds is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Gap(_Record):
    """How much more often answers pass than they pass their hidden tests too."""

    mean: float
    low: float
    high: float
    units: int


class Reach(Gap):
    """Share of prompts that some answer solves: pass@k for the largest k."""

    k: int | None = None


class Decision(_Record):
    """What followed a cycle."""

    action: str
    best: int
    why: str


class _Observed(_Record):
    """What answers show beside their rates."""

    error_classes: Mapping[str, int] = {}
    distinct_share: float | None = None
    pass_at_k: Reach | None = None
    hidden_gap: Gap | None = None
    hidden_gap_alarm: bool = False
    suspicious: Mapping[str, int] = {}
    truncated: int | None = None


class Heldout(_Observed):
    """Rates on the held-out prompts, and their paired differences to the baseline."""

    samples: int
    compile_rate: Estimate
    pass_rate: Estimate
    hidden_pass_rate: Estimate | None = None
    differences: Mapping[str, Paired] = {}

    @property
    def cut_share(self) -> float | None:
        """Share of the answers that the limit of tokens cut; older runs do not say."""
        return None if self.truncated is None else self.truncated / self.samples

    def rate(self, key: str) -> Estimate | None:
        """Return the rate named ``key``."""
        rates = {
            "compile_rate": self.compile_rate,
            "pass_rate": self.pass_rate,
            "hidden_pass_rate": self.hidden_pass_rate,
        }
        return rates[key]


class Cycle(_Observed):
    """One record of `raft_statistics.json`; cycle 0 is the baseline and has no training."""

    cycle: int
    total_samples: int | None = None
    compile_rate: float | None = None
    success_rate: float | None = None
    kept: int | None = None
    unique_kept: int | None = None
    avg_reward: float | None = None
    avg_kept_reward: float | None = None
    frac_reward_zero_std: float | None = None
    entropy: float | None = None
    learning_rate: float | None = None
    loss: float | None = None
    faults: int | None = None
    generation_seconds: float | None = None
    verification_seconds: float | None = None
    verification_added_seconds: float | None = None
    training_seconds: float | None = None
    solved_first_share: float | None = None
    lost_share: float | None = None
    decision: Decision | None = None
    ended: str | None = None
    heldout: Heldout | None = None

    @property
    def cut_share(self) -> float | None:
        """Share of the training answers that the limit of tokens cut."""
        if self.truncated is None or not self.total_samples:
            return None
        return self.truncated / self.total_samples

    @property
    def judging_seconds(self) -> float | None:
        """By how much judging lengthened the cycle; older runs say only what came at the end."""
        added = self.verification_added_seconds
        return self.verification_seconds if added is None else added

    @property
    def generating_seconds(self) -> float | None:
        """Seconds of generating, without those in which it waited for verdicts."""
        if self.generation_seconds is None or self.judging_seconds is None:
            return self.generation_seconds
        return self.generation_seconds - (self.judging_seconds - (self.verification_seconds or 0.0))


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory as far as its small files tell.

    Attributes:
        path: The directory.
        info: `run.json` as it stands.
        config: Resolved settings by dotted key.
        statistics: `raft_statistics.json` as it stands.
        cycles: The same records, typed.
        done: Cycles that are complete: their checkpoint exists.
    """

    path: Path
    info: Mapping[str, Any]
    config: Mapping[str, Any]
    statistics: list[dict[str, Any]]
    cycles: tuple[Cycle, ...]
    done: int

    @property
    def planned(self) -> int:
        """Cycles that the configuration asks for."""
        return int(self.config.get(_CYCLES, self.done))

    @property
    def owed(self) -> int:
        """Cycles that are asked for and not complete; none of a run that has ended early."""
        return 0 if self.stopped else max(self.planned - self.done, 0)

    @property
    def control(self) -> str | None:
        """The control that the run is; None for a verified run."""
        control = self.info["guarded"].get("raft.control", _VERIFIED)
        return None if control == _VERIFIED else str(control)

    @property
    def best(self) -> int | None:
        """The best cycle by its last decision; 0 is the start, None is not known."""
        return next((c.decision.best for c in reversed(self.cycles) if c.decision), None)

    @property
    def stopped(self) -> str | None:
        """Why the run ended early, if it did."""
        last = self.cycles[-1] if self.cycles else None
        if last is None or last.cycle >= self.planned:
            return None
        if last.decision is not None and last.decision.action == "stop":
            return last.decision.why
        return last.ended

    @property
    def measured(self) -> list[Cycle]:
        """Cycles with a held-out evaluation, the baseline first."""
        return [cycle for cycle in self.cycles if cycle.heldout is not None]


def find_runs(folders: Iterable[Path]) -> list[Path]:
    """Return the run directories in ``folders`` or up to two levels below, sorted by name."""
    found: set[Path] = set()
    for folder in folders:
        found |= {path for path in [folder, *_below(folder, _DEPTH)] if is_run(path)}
    return sorted(found)


def _below(folder: Path, depth: int) -> Iterator[Path]:
    for path in folder.glob("*/"):
        yield path
        if depth > 1:
            yield from _below(path, depth - 1)


def is_run(path: Path) -> bool:
    """Tell whether ``path`` is a run directory."""
    return RunDir(path).run_json.is_file()


def read_run(path: Path) -> Run:
    """Read the small files of a run directory.

    Raises:
        UserError: If ``path`` is not a run directory.
        StoreFault: If one of its files is damaged.
    """
    folder = RunDir(path)
    info = folder.read_info()
    if info is None:
        raise UserError(f"{path}: not a run directory (there is no {folder.run_json.name} in it)")
    document = read_yaml(folder.config_path)
    if document.problems:
        raise StoreFault("\n".join(document.problems))
    config = {".".join(entry.path): entry.value for entry in document.entries}
    planned = config.get(_CYCLES, 0)
    if type(planned) is not int:
        raise StoreFault(
            f"{folder.config_path}: {_CYCLES}: a whole number is wanted, not {planned!r}"
        )
    statistics = folder.read_statistics()
    try:
        cycles = TypeAdapter(tuple[Cycle, ...]).validate_python(statistics)
    except ValidationError as error:
        what = str(error).splitlines()[0]
        raise StoreFault(f"{folder.statistics_path}: damaged ({what})") from error
    return Run(path, info, config, statistics, cycles, done=folder.last_complete)
