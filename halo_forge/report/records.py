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

__all__ = ["Cycle", "Heldout", "Run", "find_runs", "is_run", "read_run"]

_DEPTH = 2
_CYCLES = "raft.num_cycles"


class _Record(BaseModel):
    """Figures that a run wrote; what a later version adds is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Heldout(_Record):
    """Rates on the held-out prompts, and their paired differences to the baseline."""

    samples: int
    compile_rate: Estimate
    pass_rate: Estimate
    hidden_pass_rate: Estimate | None = None
    differences: Mapping[str, Paired] = {}

    def rate(self, key: str) -> Estimate | None:
        """Return the rate named ``key``."""
        rates = {
            "compile_rate": self.compile_rate,
            "pass_rate": self.pass_rate,
            "hidden_pass_rate": self.hidden_pass_rate,
        }
        return rates[key]


class Cycle(_Record):
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
    heldout: Heldout | None = None

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
        """Cycles that are asked for and not complete."""
        return max(self.planned - self.done, 0)

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
