"""Verifiers that compile, and run on request: a ladder from "fails" to "right output".

::

    0.0  does not compile, or is no program at all
    0.3  compiles with warnings, where warnings count
    0.5  compiles
    0.7  runs and ends well
    1.0  prints what was expected

A compiler is deterministic but no judge of whether the program does its job; only the last rung is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from halo_forge.core.types import Prompt, VerifyResult
from halo_forge.rlvr.verifiers.base import RewardLevel
from halo_forge.rlvr.verifiers.binaries import BinaryFolder
from halo_forge.rlvr.verifiers.code import CodeVerifier, Plan, Report
from halo_forge.rlvr.verifiers.diagnostics import shown
from halo_forge.rlvr.verifiers.languages import Language
from halo_forge.rlvr.verifiers.toolchain import Toolchain
from halo_forge.rlvr.verifiers.toolchains import NATIVE, TOOLCHAINS
from halo_forge.rlvr.verifiers.trials import Trial, judge_trials, limits_hit, trial_steps
from halo_forge.rlvr.verifiers.workbench import Budget, SandboxOpener, Tool
from halo_forge.sandbox import JobResult, Outcome, Sandbox
from halo_forge.utils.typing import override

__all__ = [
    "AutoVerifier",
    "ClangVerifier",
    "CompileVerifier",
    "DotNetVerifier",
    "GCCVerifier",
    "GoVerifier",
    "MinGWVerifier",
    "MultiLanguageVerifier",
    "PowerShellVerifier",
    "PythonVerifier",
    "RustVerifier",
]


class CompileVerifier(CodeVerifier):
    """Compiles a program and, on request, runs it; a subclass names its toolchains.

    With ``run_after_compile`` the program runs on the tests of its prompt, else against the
    prompt's or the verifier's expected output, else just to its end. ``success`` means the
    highest rung that was asked for: compiled, ended well, or printed what was expected.

    An answer whose prompt asks for a function (``entry_point``) is compiled but not linked or run.

    Args:
        flags: Compiler flags instead of the toolchain's own.
        timeout: CPU seconds of the compilation.
        max_workers: Answers judged at one time; cores and one more when absent.
        run_after_compile: Run what was compiled; implied by ``expected_output``.
        run_timeout: CPU seconds of one run.
        expected_output: What a program prints, for prompts that do not say so themselves.
        stdin_input: Standard input of that run.
        memory_limit_mb: MiB of memory of a run.
        warn_as_error: A warning, or silencing warnings, ends the ladder at 0.3.
        sandbox: Sandbox to use, which stays open, or what opens one; the best there is when absent.
        binary_cache_dir: Folder in which built programs are kept, for people; the verdict names
            the file under ``binary``. See `BinaryFolder`.
        score_hidden: Where a program runs on the tests of its prompt, also run the hidden ones and
            report them in the metadata; they never touch the reward.

    Raises:
        ValueError: If a limit is not positive.
    """

    toolchains: ClassVar[tuple[Toolchain, ...]] = ()

    def __init__(  # noqa: PLR0913 - the public signature of the contract
        self,
        flags: Sequence[str] | None = None,
        timeout: float = 30,
        max_workers: int | None = None,
        run_after_compile: bool = False,
        run_timeout: float = 5,
        expected_output: str | None = None,
        stdin_input: str | None = None,
        memory_limit_mb: int = 512,
        warn_as_error: bool = False,
        sandbox: Sandbox | SandboxOpener | None = None,
        binary_cache_dir: str | None = None,
        score_hidden: bool = False,
    ) -> None:
        super().__init__(
            Budget(timeout, run_timeout, memory_limit_mb),
            flags=flags,
            strict=warn_as_error,
            max_workers=max_workers,
            sandbox=sandbox,
        )
        self._runs = run_after_compile or expected_output is not None
        self._expected = expected_output
        self._stdin = stdin_input or ""
        self._warn_as_error = warn_as_error
        self._score_hidden = score_hidden
        self._binaries = BinaryFolder(binary_cache_dir) if binary_cache_dir else None

    @override
    def _plan(self, prompt: Prompt | None) -> Plan:
        trials = self._trials(prompt)
        compares = any(trial.expected is not None for trial in trials)
        speaks = compares or any(trial.stdin for trial in trials)
        asked = prompt.reference.entry_point if prompt is not None else None
        entry = asked if asked not in {language.entry for language in self._languages()} else None
        if not self._runs or entry is not None:
            trials = ()
        strong = compares and bool(trials)
        scored = len(trials)
        if self._score_hidden and strong and prompt is not None:
            hidden = prompt.reference.hidden_tests
            trials += tuple(Trial.of(case, n) for n, case in enumerate(hidden, scored + 1))
        return Plan(trials, scored, needs_io=speaks, strong=strong, entry_point=entry)

    @override
    def _without_runs(self, plan: Plan, tool: Tool) -> Plan:
        return replace(plan, trials=(), scored=0, strong=False)

    def _trials(self, prompt: Prompt | None) -> tuple[Trial, ...]:
        """Return the runs a prompt asks for."""
        expected = self._expected
        if prompt is not None:
            reference = prompt.reference
            if reference.tests:
                return tuple(Trial.of(case, n) for n, case in enumerate(reference.tests, 1))
            if reference.expected_output is not None:
                expected = reference.expected_output
        return (Trial(self._stdin, expected, "the run"),)

    @override
    def _carry_out(self, plan: Plan, tool: Tool, source: bytes) -> JobResult:
        folder = self._binaries
        if folder is None or plan.entry_point is not None or tool.toolchain.product is None:
            return super()._carry_out(plan, tool, source)
        # First, since a run that hits a time limit is the last one.
        runs = (folder.step(tool), *trial_steps(plan.trials, tool, self._bench))
        result = self._bench.build_and_run(tool, source, runs)
        if result.runs:
            folder.keep(folder.name(source, tool), result.runs[0])
        return replace(result, runs=result.runs[1:])

    @override
    def _grade(self, plan: Plan, result: JobResult, report: Report) -> VerifyResult:
        verdict = self._rung(plan, result, report)
        folder, tool = self._binaries, report.tool
        if folder is None or plan.entry_point is not None or tool.toolchain.product is None:
            return verdict
        name = folder.name(report.code.encode("utf-8", "replace"), tool)
        return replace(verdict, metadata={**verdict.metadata, "binary": name})

    def _rung(self, plan: Plan, result: JobResult, report: Report) -> VerifyResult:
        """Return the verdict on a program that builds."""
        build = result.build
        if self._warn_as_error and build is not None:
            warning = _warning(build, report)
            if warning is not None:
                return report.verdict(
                    "compile",
                    RewardLevel.COMPILE_WARNINGS.value,
                    "compiles with warnings",
                    error=warning,
                    limits=[],
                    diagnostic="warning",
                )
        if not plan.trials:
            level = RewardLevel.COMPILE_CLEAN.value
            return report.verdict("compile", level, "compiles", success=True, limits=[])
        return self._grade_runs(plan, result, report)

    def _grade_runs(self, plan: Plan, result: JobResult, report: Report) -> VerifyResult:
        toolchain = report.tool.toolchain
        judged = judge_trials(plan.trials, result.runs, "exact", toolchain, self._bench)
        results, hidden = judged[: plan.scored], judged[plan.scored :]
        expecting = any(trial.expected is not None for trial in plan.trials)
        facts: dict[str, Any] = {"limits": limits_hit(result.runs[: plan.scored])}
        if expecting:
            passed = sum(one.passed for one in results)
            facts |= {"tests_passed": passed, "tests_total": len(results)}
        if hidden:
            passed = sum(one.passed for one in hidden)
            facts |= {"hidden_passed": passed, "hidden_total": len(hidden)}
        failed = next(
            ((t, r) for t, r in zip(plan.trials, results, strict=False) if not r.passed), None
        )
        if failed is None:
            stage, level = ("output", "CORRECT_OUTPUT") if expecting else ("run", "RUNS_NO_CRASH")
            details = "compiles, runs" + (
                " and prints what was expected" if expecting else " and ends well"
            )
            return report.verdict(stage, RewardLevel[level].value, details, success=True, **facts)
        details = f"compiles; {failed[0].name}: {failed[1].note}"
        clean = all(one.clean for one in results)
        stage, level = ("output", "RUNS_NO_CRASH") if clean else ("run", "COMPILE_CLEAN")
        return report.verdict(
            stage, RewardLevel[level].value, details, error=failed[1].note, **facts
        )


class GCCVerifier(CompileVerifier):
    """Judges C++ with ``g++`` (the default) and C with ``gcc``; see `CompileVerifier`.

    The language is the prompt's, else the fence tag's, else C++.
    """

    toolchains: ClassVar[tuple[Toolchain, ...]] = (TOOLCHAINS["g++"], TOOLCHAINS["gcc"])


class ClangVerifier(CompileVerifier):
    """Judges C++ with ``clang++`` (the default) and C with ``clang``; see `CompileVerifier`."""

    toolchains: ClassVar[tuple[Toolchain, ...]] = (TOOLCHAINS["clang++"], TOOLCHAINS["clang"])


class MinGWVerifier(CompileVerifier):
    """Judges C++ and C for Windows with the cross compilers of MinGW-w64; see `CompileVerifier`.

    Programs run under Wine. Where it is not installed they are compiled only; each verdict then
    says so under ``not_run``.
    """

    toolchains: ClassVar[tuple[Toolchain, ...]] = (
        TOOLCHAINS["mingw-g++"],
        TOOLCHAINS["mingw-gcc"],
    )


class RustVerifier(CompileVerifier):
    """Judges Rust with ``rustc`` alone, never with cargo; see `CompileVerifier`."""

    toolchains: ClassVar[tuple[Toolchain, ...]] = (TOOLCHAINS["rustc"],)


class GoVerifier(CompileVerifier):
    """Judges Go programs that need the standard library alone; see `CompileVerifier`."""

    toolchains: ClassVar[tuple[Toolchain, ...]] = (TOOLCHAINS["go"],)


class DotNetVerifier(CompileVerifier):
    """Judges C# by ``dotnet build`` where there is an SDK, else by Mono; see `CompileVerifier`.

    Which of them it was stands under ``toolchain``: Mono's compiler knows no C# after version 7.
    """

    toolchains: ClassVar[tuple[Toolchain, ...]] = (TOOLCHAINS["dotnet"], TOOLCHAINS["mcs"])


class PythonVerifier(CompileVerifier):
    """Judges Python programs: "compiles" means that they parse; see `CompileVerifier`."""

    toolchains: ClassVar[tuple[Toolchain, ...]] = (TOOLCHAINS["python"],)


class PowerShellVerifier(CompileVerifier):
    """Judges whether PowerShell parses: 0.5 or 0.0; nothing is run.

    By PowerShell's own parser where ``pwsh`` is installed, else by a grammar of tree-sitter (the
    extra ``powershell``), which refuses some rare right scripts and accepts some wrong ones; each
    verdict then says ``heuristic``. See `CompileVerifier` for the arguments.
    """

    toolchains: ClassVar[tuple[Toolchain, ...]] = (TOOLCHAINS["pwsh"], TOOLCHAINS["tree-sitter"])


class MultiLanguageVerifier(CompileVerifier):
    """Judges every language of the table by its default toolchain; see `CompileVerifier`.

    The language is the one the prompt asks for: a right program in another is not what was asked.
    Without one it is the fence tag's, else told by the look of the program.
    """

    toolchains: ClassVar[tuple[Toolchain, ...]] = NATIVE

    @override
    def _is_needed(self, language: Language) -> bool:
        return self._is_here(language)


AutoVerifier = MultiLanguageVerifier


def _warning(build: Outcome, report: Report) -> str | None:
    """Return the first warning of a build, or that the source silences warnings."""
    toolchain = report.tool.toolchain
    if toolchain.mutes is not None and toolchain.mutes.search(report.code):
        return "the program silences warnings"
    lines = build.stderr.decode("utf-8", "replace").splitlines()
    pattern = toolchain.warning
    return next((shown(line) for line in lines if pattern and pattern.search(line)), None)
