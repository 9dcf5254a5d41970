"""How often each prompt was solved in earlier cycles, from their journals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from halo_forge.core.errors import UserError
from halo_forge.core.types import Verdict
from halo_forge.store.records import read_records
from halo_forge.store.run_dir import RunDir

__all__ = ["Tallies", "Tally", "pass_rates", "tallies", "tally"]


@dataclass(frozen=True, slots=True)
class Tally:
    """Answers to one prompt.

    Attributes:
        passed: Those that pass.
        judged: All of them.
    """

    passed: int
    judged: int

    @property
    def rate(self) -> float:
        """Share that passes."""
        return self.passed / self.judged


Tallies = Mapping[str, Tally]
"""Of one cycle, by the prompt's id."""


def tallies(run: RunDir, cycles: Iterable[int]) -> dict[int, Tallies]:
    """Return the tallies of these cycles of a run, by cycle.

    Raises:
        StoreFault: If a journal is damaged.
    """
    return {cycle: _read(run.verified_path(cycle)) for cycle in cycles}


def pass_rates(runs: Iterable[str]) -> dict[str, float]:
    """Return the pass rate of each prompt over all training answers of earlier runs.

    Raises:
        UserError: If a directory has no judged answers.
        StoreFault: If a journal is damaged.
    """
    total: dict[str, Tally] = {}
    for name in runs:
        run = RunDir(Path(name))
        if not run.verified_cycles:
            raise UserError(f"curriculum.history: {name} has no judged answers of a RAFT run")
        for one in tallies(run, run.verified_cycles).values():
            for prompt, tally in one.items():
                old = total.get(prompt, Tally(0, 0))
                total[prompt] = Tally(old.passed + tally.passed, old.judged + tally.judged)
    return {prompt: tally.rate for prompt, tally in total.items()}


def tally(verdicts: Iterable[Verdict]) -> Tallies:
    """Return the tallies of verdicts; faults are passed over."""
    return _counted(
        (verdict.sample.prompt.id, verdict.result.success)
        for verdict in verdicts
        if verdict.result is not None
    )


def _read(path: Path) -> Tallies:
    # by id: of two records of an answer the first counts, as everywhere
    answers: dict[str, tuple[str, bool]] = {}
    for record in read_records(path):
        answers.setdefault(record["id"], (record["prompt_id"], bool(record["success"])))
    return _counted(answers.values())


def _counted(answers: Iterable[tuple[str, bool]]) -> Tallies:
    found: dict[str, Tally] = {}
    for prompt, passed in answers:
        old = found.get(prompt, Tally(0, 0))
        found[prompt] = Tally(old.passed + passed, old.judged + 1)
    return found
