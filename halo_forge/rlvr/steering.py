"""What steers a run between its stages, and what is noted and said of its answers on the way.

Everything is worked out anew from journals, records and settings, so there is no state to lose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from halo_forge.config.raft import RaftConfig
from halo_forge.core.types import Prompt, Sample, Verdict
from halo_forge.rlvr.curriculum import chosen, needs_history
from halo_forge.rlvr.diversity import PromptRates, prompt_rates
from halo_forge.rlvr.history import tallies
from halo_forge.rlvr.honesty import gap_alarm, gap_warning
from halo_forge.rlvr.observations import cycle_observations, observations
from halo_forge.rlvr.shaping import Bar, shaped
from halo_forge.rlvr.stopping import Decision, decide, decision_record
from halo_forge.store.run_dir import RunDir
from halo_forge.tracking.base import Observer

__all__ = ["Course"]

_Program = Callable[[Sample], str]


@dataclass(frozen=True, slots=True)
class Course:
    """The course of a run.

    Attributes:
        config: Settings.
        run: Run directory.
        observer: Is told what happens.
        earlier_rates: Pass rates in earlier runs, for the historical curriculum.
    """

    config: RaftConfig
    run: RunDir
    observer: Observer
    earlier_rates: Mapping[str, float]

    def prompts(self, cycle: int, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        """Return the prompts of a cycle, by the curriculum; none when all have retired."""
        settings = self.config.curriculum
        earlier = tallies(self.run, range(1, cycle)) if needs_history(settings) else {}
        return chosen(settings, prompts, cycle, earlier, self.earlier_rates)

    def bar(self, cycle: int) -> Bar:
        """Return what an answer of a cycle must reach."""
        config = self.config
        return shaped(config.shaping, config.raft, cycle, self.run.read_statistics())

    def observed(
        self,
        cycle: int,
        verdicts: Sequence[Verdict],
        kept: Sequence[Verdict],
        bar: Bar,
        program: _Program,
    ) -> dict[str, Any]:
        """Return what a cycle's answers show beside their rewards, and say what is alarming."""
        earlier = tallies(self.run, range(1, cycle))
        found = cycle_observations(verdicts, program, earlier, self.config.seed)
        below = sum(v.result.reward < bar.threshold for v in kept if v.result is not None)
        if below:
            found["kept_below_threshold"] = below
            self.observer.message(
                f"Cycle {cycle}: {below} of the {len(kept)} answers trained on have a reward below "
                f"{bar.threshold:g}, as the control asks"
            )
        return found | self._alarm(found, f"cycle {cycle}")

    def seen(self, verdicts: Sequence[Verdict], program: _Program, where: str) -> dict[str, Any]:
        """Return what held-out answers show beside their rates, and say what is alarming."""
        found = observations(verdicts, program, self.config.seed)
        return found | self._alarm(found, where)

    def rates(self, verdicts: Sequence[Verdict] | None) -> PromptRates:
        """Return what is known of each held-out prompt; of none without held-out prompts."""
        return prompt_rates(verdicts or ())

    def decide(self, cycle: int, measured: Mapping[int, PromptRates]) -> Decision:
        """Decide from held-out rates whether the run goes on after a cycle, and note it.

        Args:
            cycle: The cycle.
            measured: Rates after every cycle so far, see `rates`.
        """
        if not measured[cycle]["pass_rate"]:
            return Decision("continue", cycle, {}, "")
        decision = decide(self.config.stopping, measured, cycle, self.config.seed)
        self._note(cycle, {"decision": decision_record(decision)})
        if decision.why:
            self.observer.message(f"After cycle {cycle}: {decision.why}; {decision.action}")
        return decision

    def all_retired(self, cycle: int) -> None:
        """Say, and note with the cycle before, that no prompt is left for ``cycle``."""
        why = f"every prompt is solved at curriculum.retire_at; nothing is left for cycle {cycle}"
        self._note(cycle - 1, {"ended": why})
        self.observer.message(f"Ends: {why}")

    def _note(self, cycle: int, fields: Mapping[str, Any]) -> None:
        """Write into a cycle's record what is not there yet."""
        known = {one["cycle"]: one for one in self.run.read_statistics()}
        if any(known.get(cycle, {}).get(key) != value for key, value in fields.items()):
            self.run.update_statistics(cycle, fields)

    def _alarm(self, found: dict[str, Any], where: str) -> dict[str, bool]:
        if "hidden_gap" not in found:
            return {}
        is_wide = gap_alarm(found, self.config.evaluation.hidden_gap_alarm)
        if is_wide:
            self.observer.message(gap_warning(found, where))
        return {"hidden_gap_alarm": is_wide}
