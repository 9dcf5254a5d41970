"""Tests written in the language of the answer, built into one program with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from halo_forge.core.errors import VerifierFault
from halo_forge.core.identity import content_id
from halo_forge.core.types import Prompt, Reference, VerifyResult
from halo_forge.rlvr.verifiers.base import RewardLevel
from halo_forge.rlvr.verifiers.code import CodeVerifier, Plan, Report
from halo_forge.rlvr.verifiers.extract import MAX_ANSWER, extract_code
from halo_forge.rlvr.verifiers.joining import JOINED, joined, whole
from halo_forge.rlvr.verifiers.languages import Language
from halo_forge.rlvr.verifiers.toolchain import Toolchain
from halo_forge.rlvr.verifiers.toolchains import NATIVE
from halo_forge.rlvr.verifiers.trials import Trial, judge_trials, limits_hit, trial_steps
from halo_forge.rlvr.verifiers.workbench import Budget, SandboxOpener, Tool
from halo_forge.sandbox import JobResult, Sandbox
from halo_forge.utils.typing import override

__all__ = ["JoinedVerifier"]


@dataclass(frozen=True, slots=True)
class _JoinedPlan(Plan):
    """A plan whose tests are source code in the language of the answer.

    Attributes:
        tests: The source.
        who: Whose tests they are, for messages.
    """

    tests: str = ""
    who: str = field(default="", compare=False)

    def word(self, code: str) -> str:
        """Return what the program prints when the last test has passed."""
        return content_id([code, self.tests])


class JoinedVerifier(CodeVerifier):
    """Judges functions in C++, Rust, Go and C# by tests in that language, as MultiPL-E has them.

    Function and tests become one program, which must build, end well, and print a word that comes
    after the last test: 1.0, or 0.5 when it builds and a test fails, or 0.0. So an early exit
    passes nothing; but tests and program share a process, and a program can read its own source, so
    every verdict is ``weak``. An answer may be the whole function or only what follows its head.

    Args:
        timeout: CPU seconds of the compilation.
        run_timeout: CPU seconds of all tests together.
        memory_limit_mb: MiB of memory of the run.
        max_workers: Answers judged at one time; cores and one more when absent.
        sandbox: Sandbox to use, which stays open, or what opens one; the best there is when absent.

    Raises:
        ValueError: If a limit is not positive.
    """

    toolchains: ClassVar[tuple[Toolchain, ...]] = tuple(
        row for row in NATIVE if row.language.name in JOINED
    )

    def __init__(
        self,
        timeout: float = 30,
        run_timeout: float = 5,
        memory_limit_mb: int = 512,
        max_workers: int | None = None,
        sandbox: Sandbox | SandboxOpener | None = None,
    ) -> None:
        super().__init__(
            Budget(timeout, run_timeout, memory_limit_mb), max_workers=max_workers, sandbox=sandbox
        )

    @override
    def _is_needed(self, language: Language) -> bool:
        return self._is_here(language)

    @override
    def _plan(self, prompt: Prompt | None) -> Plan:
        reference = Reference() if prompt is None else prompt.reference
        who = "an answer" if prompt is None else f"prompt {prompt.id!r}"
        if not reference.test_code or not reference.entry_point:
            raise VerifierFault(
                f'{who} has no tests of a function: "tests" as source code in the language of the '
                'answer and "entry_point" are needed'
            )
        return _JoinedPlan(
            (Trial("", None, "the tests"),),
            scored=1,
            entry_point=reference.entry_point,
            tests=reference.test_code,
            who=who,
        )

    @override
    def _read(
        self, text: str, prompt: Prompt | None, wanted: Sequence[Language]
    ) -> tuple[Language, str | None]:
        language, code = super()._read(text, prompt, wanted)
        entry = prompt.reference.entry_point if prompt is not None else None
        if prompt is None or entry is None or len(text) > MAX_ANSWER:
            return language, code
        head = extract_code(prompt.text, language.name)
        return language, whole(code if code is not None else text, head, entry, language)

    @override
    def _carry_out(self, plan: Plan, tool: Tool, source: bytes) -> JobResult:
        assert isinstance(plan, _JoinedPlan)
        code = source.decode("utf-8", "replace")
        program = joined(code, plan.tests, tool.toolchain.language, plan.word(code))
        runs = trial_steps(plan.trials, tool, self._bench)
        return self._bench.build_and_run(tool, program.encode("utf-8", "replace"), runs)

    @override
    def _grade(self, plan: Plan, result: JobResult, report: Report) -> VerifyResult:
        assert isinstance(plan, _JoinedPlan)
        wanted = Trial("", plan.word(report.code), "the tests")
        toolchain, bench = report.tool.toolchain, self._bench
        (found,) = judge_trials((wanted,), result.runs, "contains", toolchain, bench)
        passed = found.passed
        level = RewardLevel.CORRECT_OUTPUT if passed else RewardLevel.COMPILE_CLEAN
        ended = "the tests did not reach their end" if found.state == "wrong_output" else found.note
        return report.verdict(
            "tests",
            level.value,
            "all tests passed" if passed else f"a test fails: {ended}",
            success=passed,
            error=None if passed else ended,
            limits=limits_hit(result.runs),
            tests_passed=int(passed),
            tests_total=1,
        )
