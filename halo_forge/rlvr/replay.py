"""Another algorithm on the judged answers of a run that is there: nothing is generated again.

The journals of the old run become the new one's, a cycle at a time, before the loop asks what is
owed; it then finds that no answer is. So the new directory stands by itself, and what a kill leaves
is gone on with as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import StoreFault, UserError
from halo_forge.core.identity import digest
from halo_forge.engines.base import Engine
from halo_forge.store.atomic import lend
from halo_forge.store.records import read_records
from halo_forge.store.run_dir import RunDir, difference

__all__ = ["Source", "replayed"]

_ANSWERS = (
    "generation.",
    "adaptive.",
    "curriculum.",
    "images.",
    "raft.samples_per_prompt",
    "raft.temperature_growth",
    "raft.max_temperature",
    "model.content",
    "prompts.content",
    "verifier.",
)
"""Settings that the answers of a run and their verdicts depend on."""
_ELSEWHERE = "verifier.fingerprint"
"""Another compiler may judge held-out answers; those that are there have their verdicts."""


@dataclass(frozen=True, slots=True)
class Source:
    """The run whose answers are trained on.

    Attributes:
        run: Its directory.
        guarded: What it depends on, as its ``run.json`` says.
    """

    run: RunDir
    guarded: Mapping[str, Any]

    @property
    def content(self) -> str:
        """Digest of what the run depends on and of its first answers, which the later follow."""
        return digest([dict(self.guarded), list(read_records(self.run.verified_path(1)))])

    def check(self, config: RaftConfig, guarded: Mapping[str, Any]) -> None:
        """Refuse settings that would ask for other answers than there are.

        Raises:
            UserError: If some differ, or the run has fewer whole cycles than are to be trained.
        """
        differing = [
            f"  {key}: {was!r} there, {now!r} here"
            for key, was, now in difference(self.guarded, guarded)
            if key.startswith(_ANSWERS) and key in self.guarded and key != _ELSEWHERE
        ]
        if config.generation.sampling == "adaptive":
            differing += [
                f"  {key}: {was!r} there, {now!r} here"
                for key, was, now in difference(self.guarded, guarded)
                if key.startswith("shaping.") or key == "raft.reward_threshold"
            ]
            if config.shaping.kind == "adaptive":
                differing.append("  shaping.kind: adaptive, which moves by what an algorithm keeps")
        if differing:
            raise UserError(
                "\n".join(
                    [
                        f"{self.run.path}: its answers and verdicts are those of other settings:",
                        *differing,
                    ]
                )
            )
        if config.raft.num_cycles > self.run.last_complete:
            raise UserError(
                f"{self.run.path}: {self.run.last_complete} cycles are complete, "
                f"{config.raft.num_cycles} are to be replayed; take --cycles "
                f"{max(self.run.last_complete, 1)} or let the run go on first"
            )

    def words(self, cycle: int) -> str:
        """Say whose answers those of a cycle are."""
        whose = f"Answers of cycle {cycle} are those of {self.run.path}"
        if cycle == 1:
            return f"{whose}; none are generated"
        return f"{whose}: off-policy, since its own policy of that cycle gave them"

    def record(self, cycle: int) -> dict[str, Any]:
        """Return what a cycle's record says of its answers."""
        return {"answers_of": str(self.run.path), "off_policy": cycle > 1}

    def no_engine(self) -> Engine:
        """Refuse to generate what the journals should hold.

        Raises:
            StoreFault: Always.
        """
        raise StoreFault(
            f"{self.run.path}: answers are missing from its journals, and a replay generates none"
        )

    def bring(self, run: RunDir, cycle: int) -> None:
        """Make the judged answers of a cycle those of ``run``, unless they are there.

        Raises:
            StoreFault: If a journal cannot be read or written.
        """
        for path in (RunDir.samples_path, RunDir.verified_path):
            lend(path(self.run, cycle), path(run, cycle))

    def bring_baseline(self, run: RunDir, guarded: Mapping[str, Any]) -> None:
        """Spare ``run`` the held-out answers of the start model, where it would give the same."""
        same = ("eval_prompts.content", _ELSEWHERE, "seed")
        keys = [*same, *(key for key in guarded if key.startswith("evaluation."))]
        old, new = self.run.eval_path(0), run.eval_path(0)
        if all(self.guarded.get(k) == guarded.get(k) for k in keys):
            lend(old, new)


def replayed(config: RaftConfig) -> tuple[RaftConfig, Source | None]:
    """Return the settings with the prompts of the run that is replayed, and that run.

    Raises:
        UserError: If there is no such run, or it is the new one itself.
    """
    if config.replay is None:
        return config, None
    run = RunDir(Path(config.replay))
    info = run.read_info()
    if info is None:
        raise UserError(f"replay: {run.path} is not a run directory")
    if run.path.resolve() == Path(config.output_dir).resolve():
        raise UserError(f"replay: {run.path} is the run itself; choose another --output")
    changes: dict[str, Any] = {
        "prompts": str(run.prompts_path),
        # they are the prompts that were left when benchmarks' tasks had been taken out
        "decontaminate": config.decontaminate.model_copy(update={"against": ()}),
    }
    if config.eval_prompts is not None:
        changes["eval_prompts"] = str(run.eval_prompts_path)
    return config.model_copy(update=changes), Source(run, info["guarded"])
