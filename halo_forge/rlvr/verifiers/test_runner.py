"""Verifiers of Python functions: the tests run in one process, the answer in another (`exam`).

A test passes when the values that the program returned are the right ones, by the tests' own
comparisons, in a process that never ran the program. Neither an exit code nor a count of tests can
be forged: what was expected, and which tests there are, is known only where no answer runs.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from halo_forge.core.errors import UserError, VerifierFault
from halo_forge.core.identity import content_id
from halo_forge.core.types import Prompt, Reference, VerifyResult
from halo_forge.rlvr.verifiers.base import RewardLevel
from halo_forge.rlvr.verifiers.code import CodeVerifier, Plan, Report
from halo_forge.rlvr.verifiers.completion import completed
from halo_forge.rlvr.verifiers.diagnostics import shown
from halo_forge.rlvr.verifiers.exam.archive import exam
from halo_forge.rlvr.verifiers.exam.order import Order, outline_of
from halo_forge.rlvr.verifiers.extract import MAX_ANSWER
from halo_forge.rlvr.verifiers.languages import Language
from halo_forge.rlvr.verifiers.toolchain import Toolchain
from halo_forge.rlvr.verifiers.toolchains import OWN_PYTHON, TOOLCHAINS
from halo_forge.rlvr.verifiers.trials import limits_hit
from halo_forge.rlvr.verifiers.workbench import Budget, SandboxOpener, Tool
from halo_forge.sandbox import (
    Job,
    JobResult,
    Outcome,
    Sandbox,
    Step,
    own_python,
    packages_with,
)
from halo_forge.utils.typing import override

__all__ = [
    "ExamVerifier",
    "HumanEvalVerifier",
    "MBPPVerifier",
    "PytestVerifier",
    "UnittestVerifier",
]

_OWN_SECONDS = 10.0
"""CPU seconds for the tests' own work, on top of what the program may use."""

_PATIENCE = 1.5
"""How many times its CPU seconds a program may take by the clock, on a machine that lets it run."""

_OUTPUT = 4 << 20

# A guess, which saves time when it is right: the examiner reads the tests and decides.
_NEEDS_PYTEST = re.compile(r"\bpytest\b|\bdef test\w*\((?!self\)|\))")


@dataclass(frozen=True, slots=True)
class _ExamPlan(Plan):
    """A plan whose tests are source code.

    Attributes:
        tests: The source.
        hidden: Source of tests that are scored and never rewarded; ``""`` for none.
        who: Whose tests they are, for messages.
    """

    tests: str = ""
    hidden: str = ""
    who: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class _Score:
    """What came of the tests.

    Attributes:
        names: All tests there are.
        ends: How each that was run ended, and why.
        out_of_time: The program used up its CPU time.
        weak: Why the program had a say in the verdict, where it had.
    """

    names: tuple[str, ...]
    ends: dict[str, tuple[str, str]]
    out_of_time: bool
    weak: str | None

    @property
    def total(self) -> int:
        """Tests that count: all but those that skipped themselves."""
        skipped = sum(state == "skipped" for state, _ in self.ends.values())
        return len(self.names) - skipped

    @property
    def passed(self) -> int:
        """Tests that passed."""
        return sum(state == "passed" for state, _ in self.ends.values())

    def first_failure(self) -> str | None:
        """Say which test failed first, and why."""
        for name in self.names:
            state, note = self.ends.get(name, ("failed", "was not run"))
            if state == "failed":
                return f"{name}: {note}"
        return None


class ExamVerifier(CodeVerifier):
    """The frame of the verifiers of functions: plan the exam, hold it, read what came of it.

    Args:
        timeout: CPU seconds of the program for all tests together.
        memory_limit_mb: MiB of memory.
        one_process: Run tests and program in one process, which makes every verdict weak. When
            absent, only tests that cannot be run apart are.
        max_workers: Answers judged at one time; cores and one more when absent.
        score_hidden: Also run the prompt's hidden test code and report it in the metadata; it
            never touches the reward.
        sandbox: Sandbox to use, which stays open, or what opens one; the best there is when absent.

    Raises:
        ValueError: If a limit is not positive.
    """

    toolchains: ClassVar[tuple[Toolchain, ...]] = (OWN_PYTHON, TOOLCHAINS["python"])

    def __init__(
        self,
        timeout: float = 60,
        *,
        memory_limit_mb: int = 512,
        one_process: bool | None = None,
        max_workers: int | None = None,
        score_hidden: bool = False,
        sandbox: Sandbox | SandboxOpener | None = None,
    ) -> None:
        super().__init__(
            Budget(timeout, timeout, memory_limit_mb),
            max_workers=max_workers,
            sandbox=sandbox,
        )
        self._one_process = one_process
        self._score_hidden = score_hidden
        self._python: Toolchain | None = None

    @override
    def _toolchain(self, language: Language) -> Toolchain:
        """Return our own Python, or the system's where the sandbox's user may not enter ours."""
        if self._python is None:
            own = self._bench.can_execute(own_python())
            self._python = OWN_PYTHON if own else TOOLCHAINS["python"]
        return self._python

    @abstractmethod
    def _tests(self, prompt: Prompt | None) -> str | None:
        """Return the source of the tests for a prompt, if there are any."""

    @abstractmethod
    def _reward(self, score: _Score) -> float:
        """Return what the tests that passed are worth."""

    @override
    def _plan(self, prompt: Prompt | None) -> Plan:
        tests = self._tests(prompt)
        who = "the verifier" if prompt is None else f"prompt {prompt.id!r}"
        if tests is None:
            raise VerifierFault(
                f'{who} has no test code: give it "tests" as source code, or choose a verifier '
                "that needs none"
            )
        reference = prompt.reference if prompt is not None else Reference()
        hidden = (reference.hidden_test_code or "") if self._score_hidden else ""
        asked = reference.entry_point
        return _ExamPlan(
            strong=True, library=True, entry_point=asked, tests=tests, hidden=hidden, who=who
        )

    @override
    def _carry_out(self, plan: Plan, tool: Tool, source: bytes) -> JobResult:
        assert isinstance(plan, _ExamPlan)
        packages = packages_with("pytest")
        orders = [
            # Our own interpreter reads tests as the one inside does, once for all answers.
            Order(one, plan.entry_point, packages, self._one_process,
                  outline_of(one) if tool.driver == own_python() else None)
            for one in (plan.tests, plan.hidden)
            if one
        ]  # fmt: skip
        seconds = self._bench.budget.run_timeout
        limits = self._bench.budget.run(seconds + _OWN_SECONDS, _OUTPUT)
        warm = exam(tool.driver, packages if any(map(_by_pytest, orders)) else None)
        argv = (*warm.argv, "main.py", str(seconds), str(limits.memory))
        limits = replace(
            limits,
            wall=seconds * _PATIENCE + _OWN_SECONDS,
            memory=2 * limits.memory,  # the examiner holds what the program returned as well
        )
        steps = tuple(Step(argv, order.encode(), limits) for order in orders)
        return self._bench.run(Job({"main.py": source}, None, steps, warm=warm))

    @override
    def _grade(self, plan: Plan, result: JobResult, report: Report) -> VerifyResult:
        assert isinstance(plan, _ExamPlan)
        outcome = result.runs[0]
        score = _read(outcome, plan.who)
        reward = self._reward(score)
        success = reward == RewardLevel.CORRECT_OUTPUT.value
        note = score.first_failure()
        facts: dict[str, Any] = {}
        if score.weak is not None:
            report = replace(report, integrity="weak")
            facts["weak"] = score.weak
        if plan.hidden:
            other = _read(result.runs[1], f"{plan.who} (hidden)")
            facts |= {"hidden_passed": other.passed, "hidden_total": other.total}
        details = f"{score.passed}/{score.total} tests passed"
        return report.verdict(
            "tests",
            reward,
            details if note is None else f"{details}; {shown(note, 200)}",
            success=success,
            error=None if note is None else shown(note),
            tests_passed=score.passed,
            tests_total=score.total,
            tests=[score.ends.get(name, ("not_run", ""))[0] for name in score.names],
            limits=["cpu_limit"] if score.out_of_time else limits_hit([outcome]),
            **facts,
        )


class PytestVerifier(ExamVerifier):
    """Judges functions by pytest functions: half the share that passes, 1.0 for all of them.

    The tests come from the prompt, else from ``test_file``; never from the answer. Functions
    without fixtures or parameters need no pytest; the others are run by pytest, which must then be
    installed beside halo-forge.

    Args:
        test_file: Tests for prompts that bring none.
        timeout: CPU seconds of the program for all tests together.
        memory_limit_mb: MiB of memory.
        max_workers: Answers judged at one time; cores and one more when absent.
        sandbox: Sandbox to use, which stays open, or what opens one; the best there is when absent.
        one_process: Run tests and program in one process, which makes every verdict weak. When
            absent, only tests that cannot be run apart are.
        score_hidden: Also run the prompt's hidden test code and report it in the metadata; it
            never touches the reward.

    Raises:
        UserError: If ``test_file`` cannot be read.
        ValueError: If a limit is not positive.
    """

    def __init__(
        self,
        test_file: str | Path | None = None,
        timeout: float = 60,
        memory_limit_mb: int = 512,
        max_workers: int | None = None,
        sandbox: Sandbox | SandboxOpener | None = None,
        one_process: bool | None = None,
        score_hidden: bool = False,
    ) -> None:
        super().__init__(
            timeout,
            memory_limit_mb=memory_limit_mb,
            one_process=one_process,
            max_workers=max_workers,
            score_hidden=score_hidden,
            sandbox=sandbox,
        )
        self._file = None if test_file is None else _text(Path(test_file))

    @override
    def fingerprint(self) -> str:
        """Return what `CodeVerifier.fingerprint` does, and the content of the test file."""
        return super().fingerprint() + (f" {content_id(self._file)}" if self._file else "")

    @override
    def _tests(self, prompt: Prompt | None) -> str | None:
        own = prompt.reference.test_code if prompt is not None else None
        return self._file if own is None else own

    @override
    def _reward(self, score: _Score) -> float:
        if score.total and score.passed == score.total:
            return RewardLevel.CORRECT_OUTPUT.value
        return 0.5 * score.passed / score.total if score.total else 0.0


class UnittestVerifier(PytestVerifier):
    """Judges functions by unittest: 1.0 if every test passes and there is one, else 0.0.

    The arguments are those of `PytestVerifier`.
    """

    @override
    def _reward(self, score: _Score) -> float:
        return float(score.total > 0 and score.passed == score.total)


class MBPPVerifier(UnittestVerifier):
    """Judges answers to MBPP (Austin et al. 2021, arXiv:2108.07732): all asserts hold, or 0.0.

    The arguments are those of `PytestVerifier`.
    """


class HumanEvalVerifier(UnittestVerifier):
    """Judges answers to HumanEval (Chen et al. 2021, arXiv:2107.03374): ``check`` passes, or 0.0.

    An answer may be the whole function or its body alone: what the prompt gives of the program
    (imports, helpers, the head of the function) is put before it where it is missing. The
    arguments are those of `PytestVerifier`.
    """

    @override
    def _read(
        self, text: str, prompt: Prompt | None, wanted: Sequence[Language]
    ) -> tuple[Language, str | None]:
        language, code = super()._read(text, prompt, wanted)
        entry = prompt.reference.entry_point if prompt is not None else None
        if prompt is None or entry is None or len(text) > MAX_ANSWER:
            return language, code
        return language, completed(code if code is not None else text, prompt.text, entry, language)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"test_file {path}: cannot be read ({reason})") from error


def _by_pytest(order: Order) -> bool:
    outline = order.outline
    return bool(outline.style == "pytest" if outline else _NEEDS_PYTEST.search(order.tests))


def _lines(outcome: Outcome) -> Iterator[dict[str, Any]]:
    for line in outcome.stdout.splitlines(keepends=True):
        if line.endswith(b"\n"):  # the last may be cut off at a limit
            yield json.loads(line)


def _read(outcome: Outcome, who: str) -> _Score:
    """Read the report of an exam.

    Raises:
        VerifierFault: If it ended before the program had any part in it.
    """
    names: tuple[str, ...] = ()
    ends: dict[str, tuple[str, str]] = {}
    loading = out_of_time = False
    weak: str | None = None
    for line in _lines(outcome):
        names = tuple(line.get("tests", names))
        loading = loading or "loading" in line
        out_of_time = line.get("out_of_time", out_of_time)
        if "one_process" in line:
            weak = f"tests and program ran in one process: {line['one_process']}"
        elif line.get("believed", False):
            weak = weak or "objects of the program were asked how they compare"
        if "id" in line and ends.get(line["id"], ("",))[0] != "failed":
            ends[line["id"]] = line["state"], line["note"]
    if not loading:
        said = outcome.stderr.decode("utf-8", "replace").strip().splitlines()
        raise VerifierFault(
            f"the tests of {who} cannot be run: {shown(said[-1]) if said else outcome.status}"
        )
    return _Score(names, ends, out_of_time, weak)
