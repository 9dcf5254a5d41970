"""Runs of a program, what they should print, and what came of them."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from halo_forge.core.types import TestCase
from halo_forge.rlvr.verifiers.diagnostics import first_error, quoted
from halo_forge.rlvr.verifiers.matching import MatchMode, matches, search_job
from halo_forge.rlvr.verifiers.toolchain import Toolchain
from halo_forge.rlvr.verifiers.workbench import Tool, Workbench
from halo_forge.sandbox import Outcome, Status, Step

__all__ = ["Trial", "TrialResult", "judge_trials", "limits_hit", "trial_steps"]

_LIMITS = frozenset(Status) - {Status.OK, Status.NONZERO, Status.CRASH}


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a program.

    Attributes:
        stdin: Text on standard input.
        expected: What it should print; ``None`` when it only has to end well.
        name: Shown in reports.
        timeout: CPU seconds; the verifier's when absent.
    """

    stdin: str
    expected: str | None
    name: str
    timeout: float | None = None

    @classmethod
    def of(cls, case: TestCase, number: int) -> Self:
        """Return the trial for the test at position ``number``, from 1."""
        return cls(case.input, case.expected, case.name or f"test {number}", case.timeout)


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What came of a trial.

    Attributes:
        state: ``passed``, ``wrong_output``, ``not_run`` or the sandbox's status.
        note: Why it did not pass, for a person.
    """

    state: str
    note: str = ""

    @property
    def passed(self) -> bool:
        """It ended well and printed what was expected, if anything was."""
        return self.state == "passed"

    @property
    def clean(self) -> bool:
        """It ended well, whatever it printed."""
        return self.state in {"passed", "wrong_output"}


def trial_steps(trials: Sequence[Trial], tool: Tool, bench: Workbench) -> tuple[Step, ...]:
    """Return the steps of trials. What is expected stays outside."""
    steps = []
    for trial in trials:
        # Twice the expected size and some: a big right output is never cut off.
        room = 2 * len(trial.expected or "") + (64 << 10)
        limits = bench.budget.run(trial.timeout, room)
        steps.append(tool.run_step(trial.stdin.encode("utf-8", "surrogatepass"), limits))
    return tuple(steps)


def judge_trials(
    trials: Sequence[Trial],
    outcomes: Sequence[Outcome],
    mode: MatchMode,
    toolchain: Toolchain,
    bench: Workbench,
) -> list[TrialResult]:
    """Compare what was printed with what was expected; trials without outcome were not run.

    Raises:
        VerifierFault: If the sandbox failed while patterns were searched.
    """
    pairs = list(zip(trials, outcomes, strict=False))
    found = _matched(pairs, mode, bench)
    results = [
        _result(trial, outcome, toolchain, match)
        for (trial, outcome), match in zip(pairs, found, strict=True)
    ]
    skipped = TrialResult("not_run", "not run after a test hit its time limit")
    return results + [skipped] * (len(trials) - len(pairs))


def limits_hit(outcomes: Sequence[Outcome | None]) -> list[str]:
    """Return the names of the limits that outcomes hit, each once."""
    return sorted(
        {str(one.status) for one in outcomes if one is not None and one.status in _LIMITS}
    )


def _matched(
    pairs: Sequence[tuple[Trial, Outcome]], mode: MatchMode, bench: Workbench
) -> list[str]:
    """Return a `TrialResult.state` for each output, on the condition that its run ended well."""
    outputs = [outcome.stdout.decode("utf-8", "replace") for _, outcome in pairs]
    asked = [
        index
        for index, (trial, outcome) in enumerate(pairs)
        if outcome.ok and trial.expected is not None
    ]
    states = ["passed"] * len(pairs)
    if mode == "regex":
        searches = [(pairs[index][0].expected or "", outputs[index]) for index in asked]
        runs = bench.run(search_job(searches)).runs if searches else ()
        for index, run in zip(asked, runs, strict=True):
            if not run.ok:
                states[index] = str(run.status) if run.status in _LIMITS else "wrong_output"
    else:
        for index in asked:
            if not matches(mode, pairs[index][0].expected or "", outputs[index]):
                states[index] = "wrong_output"
    return states


def _result(trial: Trial, outcome: Outcome, toolchain: Toolchain, match: str) -> TrialResult:
    if not outcome.ok:
        return TrialResult(str(outcome.status), _ending(outcome, toolchain))
    if match == "passed":
        return TrialResult(match)
    if match == "wrong_output":
        printed = outcome.stdout.decode("utf-8", "replace").strip()
        expected = (trial.expected or "").strip()
        return TrialResult(match, f"expected {quoted(expected)}, got {quoted(printed)}")
    return TrialResult(match, f"searching the output hit the {match.replace('_', ' ')}")


def _ending(outcome: Outcome, toolchain: Toolchain) -> str:
    if outcome.status in _LIMITS:
        return f"hit the {str(outcome.status).replace('_', ' ')}"
    if outcome.status is Status.CRASH:
        return f"crashed with {_signal_name(outcome.signal)}"
    said = first_error(outcome.stderr, toolchain, last=True)
    return f"exit code {outcome.code}" + (f" ({said[0]})" if said else "")


def _signal_name(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"
