"""Running programs on tests: the share of tests passed is the reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from halo_forge.core.errors import UserError, VerifierFault
from halo_forge.core.types import Prompt, TestCase, VerifyResult
from halo_forge.rlvr.verifiers.base import RewardLevel
from halo_forge.rlvr.verifiers.code import CodeVerifier, Plan, Report
from halo_forge.rlvr.verifiers.languages import Language
from halo_forge.rlvr.verifiers.matching import MATCH_MODES, MatchMode, check_expected, is_strong
from halo_forge.rlvr.verifiers.toolchain import Toolchain
from halo_forge.rlvr.verifiers.toolchains import NATIVE, resolve
from halo_forge.rlvr.verifiers.trials import Trial, TrialResult, judge_trials, limits_hit
from halo_forge.rlvr.verifiers.workbench import Budget, SandboxOpener
from halo_forge.sandbox import JobResult, Sandbox
from halo_forge.utils.typing import override

__all__ = ["ExecutionVerifier"]


class ExecutionVerifier(CodeVerifier):
    """Runs a program on input/output tests: 0.5 + 0.5 x the share that passes, once it compiles.

    Tests travel with the prompt; ``test_cases`` serve prompts without any, and `verify`. A test
    passes when the program ends well *and* printed what was expected. Expected outputs never
    enter the sandbox. ``success`` means that all tests pass. After a test that hits its time limit
    the remaining tests are not run and count as failed.

    Interpreted programs "compile" when they parse.

    Args:
        test_cases: Tests, or mappings with their fields.
        language: Language of all answers; otherwise the prompt's, the fence tag's, or a guess.
        match_mode: ``exact`` (but for white space at line ends and the end), ``contains``,
            ``regex`` (found anywhere; searched in the sandbox under a CPU limit) or ``numeric``.
        partial_credit: Without it, a program that fails a test gets 0.5.
        timeout: CPU seconds of the compilation.
        run_timeout: CPU seconds of one test that has no limit of its own.
        memory_limit_mb: MiB of memory of a run.
        max_workers: Answers judged at one time; cores and one more when absent.
        score_hidden: Also run the prompt's hidden tests and report them in the metadata; they
            never touch the reward.
        sandbox: Sandbox to use, which stays open, or what opens one; the best there is when absent.

    Raises:
        UserError: If a test, the language, the match mode or a pattern is invalid.
        ValueError: If a limit is not positive.
    """

    toolchains: ClassVar[tuple[Toolchain, ...]] = NATIVE

    def __init__(  # noqa: PLR0913 - the public signature of the contract
        self,
        test_cases: Sequence[TestCase | dict[str, Any]] | None = None,
        language: str | None = None,
        match_mode: MatchMode = "exact",
        partial_credit: bool = True,
        timeout: float = 30,
        run_timeout: float = 5,
        memory_limit_mb: int = 512,
        max_workers: int | None = None,
        score_hidden: bool = False,
        sandbox: Sandbox | SandboxOpener | None = None,
    ) -> None:
        super().__init__(
            Budget(timeout, run_timeout, memory_limit_mb),
            max_workers=max_workers,
            sandbox=sandbox,
        )
        if match_mode not in MATCH_MODES:
            raise UserError(f"no match mode {match_mode!r}. Known: {', '.join(MATCH_MODES)}.")
        self._fixed = None if language is None else resolve(language).language
        self._mode = match_mode
        self._partial_credit = partial_credit
        self._score_hidden = score_hidden
        self._cases = tuple(_as_case(case) for case in test_cases or ())
        self._check(self._cases)

    @override
    def _languages(self) -> tuple[Language, ...]:
        return super()._languages() if self._fixed is None else (self._fixed,)

    @override
    def _is_needed(self, language: Language) -> bool:
        # A machine without a C compiler can judge Python: what is missing is a fault only when
        # it is asked for.
        return self._fixed is not None or self._is_here(language)

    @override
    def _plan(self, prompt: Prompt | None) -> Plan:
        cases = self._cases
        hidden: tuple[TestCase, ...] = ()
        if prompt is not None:
            reference = prompt.reference
            if reference.tests:
                cases = reference.tests
            elif reference.expected_output is not None:
                cases = (TestCase("", reference.expected_output),)
            if self._score_hidden:
                hidden = reference.hidden_tests
        if not cases:
            raise VerifierFault(_no_tests(prompt))
        if prompt is not None:
            try:
                self._check((*cases, *hidden))
            except UserError as error:
                raise VerifierFault(f"prompt {prompt.id!r}: {error}") from error
        trials = [Trial.of(case, number) for number, case in enumerate((*cases, *hidden), 1)]
        return Plan(tuple(trials), len(cases), needs_io=True, strong=is_strong(self._mode))

    @override
    def _grade(self, plan: Plan, result: JobResult, report: Report) -> VerifyResult:
        toolchain = report.tool.toolchain
        results = judge_trials(plan.trials, result.runs, self._mode, toolchain, self._bench)
        scored, hidden = results[: plan.scored], results[plan.scored :]
        passed = sum(one.passed for one in scored)
        facts: dict[str, Any] = {
            "tests_passed": passed,
            "tests_total": len(scored),
            "tests": [one.state for one in scored],
            "limits": limits_hit(result.runs[: plan.scored]),
        }
        if self._score_hidden:
            facts["hidden_passed"] = sum(one.passed for one in hidden)
            facts["hidden_total"] = len(hidden)
        details, note = _summary(plan, scored)
        success = passed == len(scored)
        share = passed / len(scored) if self._partial_credit or success else 0.0
        base, top = RewardLevel.COMPILE_CLEAN.value, RewardLevel.CORRECT_OUTPUT.value
        reward = base + (top - base) * share
        return report.verdict("tests", reward, details, success=success, error=note, **facts)

    def _check(self, cases: Sequence[TestCase]) -> None:
        for case in cases:
            check_expected(self._mode, case.expected)


def _as_case(case: TestCase | dict[str, Any]) -> TestCase:
    try:
        made = case if isinstance(case, TestCase) else TestCase(**case)
    except TypeError as error:
        raise UserError(
            f"a test needs 'input' and 'expected', and may have 'name' and 'timeout'; got {case!r}"
        ) from error
    texts: tuple[object, ...] = (made.input, made.expected, made.name or "")
    if not all(isinstance(text, str) for text in texts):
        raise UserError(f"'input', 'expected' and 'name' of a test are text; got {case!r}")
    seconds: object = made.timeout
    if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds < math.inf):
        raise UserError(f"'timeout' of a test is a positive number of CPU seconds; got {case!r}")
    return made


def _no_tests(prompt: Prompt | None) -> str:
    if prompt is None:
        return "ExecutionVerifier has no tests: give test_cases, or judge prompts that have tests"
    return (
        f'prompt {prompt.id!r} has no tests: give it "tests" (a list of {{"input", "expected"}}) '
        'or "expected_output", or choose a verifier that needs none (gcc)'
    )


def _summary(plan: Plan, scored: Sequence[TrialResult]) -> tuple[str, str | None]:
    """Return one line about all tests, and what is wrong with the first that fails."""
    passed = sum(one.passed for one in scored)
    line = f"{passed}/{len(scored)} tests passed"
    for trial, result in zip(plan.trials, scored, strict=False):
        if not result.passed:
            note = f"{trial.name}: {result.note}"
            return f"{line}; {note}", note
    return line, None
