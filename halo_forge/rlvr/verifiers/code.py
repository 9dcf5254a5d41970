"""What all verifiers of programs share: read the answer, gate it, build and run it, report."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Prompt, Sample, VerifyResult
from halo_forge.rlvr.verifiers.base import RewardLevel, Verifier
from halo_forge.rlvr.verifiers.cache import VerdictCache, is_settled
from halo_forge.rlvr.verifiers.diagnostics import first_error
from halo_forge.rlvr.verifiers.extract import MAX_ANSWER, best_block
from halo_forge.rlvr.verifiers.languages import Language, find_language
from halo_forge.rlvr.verifiers.substance import hollow
from halo_forge.rlvr.verifiers.toolchain import Toolchain, driver_path
from halo_forge.rlvr.verifiers.trials import Trial, limits_hit, trial_steps
from halo_forge.rlvr.verifiers.verdict_key import code_of, tool_facts, verdict_key
from halo_forge.rlvr.verifiers.workbench import Budget, SandboxOpener, Tool, Workbench
from halo_forge.sandbox import JobResult, Outcome, Sandbox
from halo_forge.utils.typing import override

__all__ = ["CodeVerifier", "Plan", "Report"]

_NO_SETTINGS = frozenset({"cache", "max_workers", "_bench"})
"""Attributes of a verifier that change no verdict, or are looked at by themselves."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with an answer to one prompt.

    Attributes:
        trials: Runs after the build.
        scored: How many of them, from the first, decide the reward.
        needs_io: The task gives input or expects output.
        strong: Success rests on output that only a right program prints.
        entry_point: Function asked for, when it is not the language's own.
        library: Functions of the program are called, so it need not do anything by itself.
    """

    trials: tuple[Trial, ...] = ()
    scored: int = 0
    needs_io: bool = False
    strong: bool = False
    entry_point: str | None = None
    library: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What every verdict says about how it came about.

    Attributes:
        tool: Toolchain that was used.
        backend: Sandbox that was used.
        integrity: ``strong`` when a right verdict rests on output compared outside the sandbox.
        code: The program.
    """

    tool: Tool
    backend: str
    integrity: str
    code: str

    def verdict(
        self, stage: str, reward: float, details: str, *, success: bool = False,
        error: str | None = None, **facts: Any,
    ) -> VerifyResult:  # fmt: skip
        """Return the verdict reached at ``stage``; ``facts`` go into its metadata."""
        metadata = {
            "stage": stage,
            "language": self.tool.toolchain.language.name,
            "toolchain": self.tool.version,
            "backend": self.backend,
            "integrity": self.integrity,
            **self._reservations(),
            **facts,
        }
        return VerifyResult(success, float(reward), details, error, metadata)

    def _reservations(self) -> dict[str, str]:
        """Say that nothing is run on this machine, where that is so, or what else is amiss."""
        toolchain = self.tool.toolchain
        facts = {"heuristic": f"parsed by {toolchain.name}"} if toolchain.heuristic else {}
        if toolchain.runner is not None and not self.tool.runs:
            facts["not_run"] = f"{toolchain.runner} is not installed"
        if toolchain.remote:
            facts["confinement"] = "limits only: it may do what its account may do over there"
        return facts

    def build_failure(self, build: Outcome) -> VerifyResult:
        """Return the verdict on a program that does not build."""
        found = first_error(build.stderr, self.tool.toolchain)
        error, kind = found or (f"the compiler ended with {build.status}", "other")
        limits = limits_hit([build])
        details = (
            f"the build hit the {limits[0].replace('_', ' ')}" if limits else "does not compile"
        )
        line = error.partition("\n")[0]
        return self.verdict(
            "compile",
            RewardLevel.FAILURE.value,
            f"{details}: {line}",
            error=error,
            limits=limits,
            diagnostic=limits[0] if limits else kind,
        )


class CodeVerifier(Verifier):
    """Judges answers that hold a program, by building and running it in a sandbox.

    It is the frame: `_plan` says what to run for a prompt, `_grade` what the outcomes are worth.
    Whatever the answer holds, the result is a verdict; only what is broken on our side raises.

    Args:
        budget: Limits of builds and runs.
        flags: Compiler flags instead of the toolchain's own.
        strict: Build with warnings on.
        max_workers: Answers judged at one time; cores and one more when absent.
        sandbox: Sandbox to use, which stays open, or what opens one; the best there is when absent.

    Attributes:
        cache: Verdicts found before, in memory; another one may be put here, or ``None`` to judge
            every answer afresh.
    """

    toolchains: ClassVar[tuple[Toolchain, ...]]
    """Toolchains by which answers are judged; the first language is the default."""

    def __init__(
        self,
        budget: Budget,
        *,
        flags: Sequence[str] | None = None,
        strict: bool = False,
        max_workers: int | None = None,
        sandbox: Sandbox | SandboxOpener | None = None,
    ) -> None:
        super().__init__(max_workers)
        self._flags = None if flags is None else tuple(flags)
        self._strict = strict
        self._bench = Workbench(sandbox, self.max_workers, budget)
        self.cache: VerdictCache | None = VerdictCache()

    @override
    def verify(self, code: str) -> VerifyResult:
        """Judge the program in ``code``, an answer or bare source."""
        return self._assess(code, None)

    @override
    def judge(self, sample: Sample) -> VerifyResult:
        """Judge the program in a sample, by its prompt's language, tests and text."""
        return self._assess(sample.completion, sample.prompt)

    @override
    def identity(self, sample: Sample) -> Hashable:
        """Return prompt, language and program: prose around a program changes nothing."""
        wanted = self._wanted(sample.prompt)
        if not wanted:
            return super().identity(sample)
        language, code = self._read(sample.completion, sample.prompt, wanted)
        return sample.prompt.id, language.name, code

    @override
    def extract_code(self, text: str) -> str:
        """Return the program in an answer, or ``""`` when there is none in a language judged."""
        return self._read(text, None, self._wanted(None))[1] or ""

    @override
    def program(self, sample: Sample) -> str:
        """Return the program of a sample, with what the prompt adds to it."""
        wanted = self._wanted(sample.prompt)
        return (self._read(sample.completion, sample.prompt, wanted)[1] or "") if wanted else ""

    @override
    def start(self, prompts: Sequence[Prompt] = ()) -> None:
        """Open the sandbox and try the toolchains that answers to ``prompts`` may need."""
        named = {one for p in prompts if p.language is not None for one in self._asked(p)}
        unnamed = not prompts or any(prompt.language is None for prompt in prompts)
        for language in self._languages():
            if language in named or (unnamed and self._is_needed(language)):
                self._tool(language)

    @override
    def fingerprint(self) -> str:
        """Return the class and the toolchains that were tried, with their versions and flags."""
        tools = "; ".join(f"{t.version} {' '.join(t.flags)}" for t in self._bench.tools)
        return f"{super().fingerprint()}: {tools}"

    @override
    @contextmanager
    def afresh(self) -> Iterator[None]:
        """Neither use nor keep verdicts while the context lasts."""
        kept, self.cache = self.cache, None
        try:
            yield
        finally:
            self.cache = kept

    @override
    def cleanup(self) -> None:
        """Close the sandbox, if it is an own one, and forget verdicts that are in no file."""
        self._bench.close()
        if self.cache is not None:
            self.cache.close()

    @abstractmethod
    def _plan(self, prompt: Prompt | None) -> Plan:
        """Return what to run for an answer to ``prompt``.

        Raises:
            VerifierFault: If the prompt is no task for this verifier.
        """

    @abstractmethod
    def _grade(self, plan: Plan, result: JobResult, report: Report) -> VerifyResult:
        """Return the verdict on a program that was built and run."""

    def _without_runs(self, plan: Plan, tool: Tool) -> Plan:
        """Return the plan where programs can be built and not run.

        Raises:
            VerifierFault: If nothing can be judged so.
        """
        runner = tool.toolchain.runner
        why = "is never run" if runner is None else f"cannot be run: {runner} is not on PATH"
        raise VerifierFault(f"what {tool.toolchain.name} builds {why}, so tests judge nothing")

    def _languages(self) -> tuple[Language, ...]:
        return tuple(dict.fromkeys(toolchain.language for toolchain in self.toolchains))

    def _is_needed(self, language: Language) -> bool:
        """Tell whether prompts that name no language need the toolchain of ``language``."""
        return language in self._languages()

    def _is_here(self, language: Language) -> bool:
        return driver_path(self._toolchain(language)) is not None

    def _toolchain(self, language: Language) -> Toolchain:
        """Return the first toolchain for a language that is installed, or else the first."""
        rows = [one for one in self.toolchains if one.language == language]
        return next((one for one in rows if driver_path(one) is not None), rows[0])

    def _wanted(self, prompt: Prompt | None) -> tuple[Language, ...]:
        """Return the languages an answer may be in; none when the prompt asks for another."""
        languages = self._languages()
        if prompt is None or prompt.language is None:
            return languages
        asked = find_language(prompt.language)
        return tuple(language for language in languages if language == asked)

    def _asked(self, prompt: Prompt | None) -> tuple[Language, ...]:
        """Return the languages an answer may be in.

        Raises:
            VerifierFault: If the prompt asks for a language that is not judged here.
        """
        wanted = self._wanted(prompt)
        if not wanted:
            raise VerifierFault(self._wrong_language(prompt))
        return wanted

    def _tool(self, language: Language) -> Tool:
        toolchain = self._toolchain(language)
        flags = self._flags
        if flags is None:
            flags = toolchain.strict if self._strict else toolchain.flags
        return self._bench.tool(toolchain, flags)

    def _assess(self, text: str, prompt: Prompt | None) -> VerifyResult:
        plan = self._plan(prompt)
        wanted = self._asked(prompt)
        language, code = self._read(text, prompt, wanted)
        tool = self._tool(language)
        if plan.trials and not tool.runs:
            plan = self._without_runs(plan, tool)
        integrity = "strong" if plan.strong else "weak"
        report = Report(tool, self._bench.backend, integrity, code or "")
        if code is None:
            return report.verdict("extract", RewardLevel.FAILURE.value, _unreadable(text, wanted))
        reason = hollow(
            code,
            language,
            prompt=prompt.text if prompt is not None else "",
            entry_point=plan.entry_point,
            needs_io=plan.needs_io,
            library=plan.library,
        )
        if reason is not None:
            return report.verdict("substance", RewardLevel.FAILURE.value, reason)
        return self._remembered(plan, report)

    def _remembered(self, plan: Plan, report: Report) -> VerifyResult:
        """Return the verdict on a program, the one found before if there was one."""
        cache = self.cache
        key = None if cache is None else self._key(plan, report)
        if cache is None or key is None:
            return self._found(plan, report)[0]
        known = cache.get(key)
        if known is not None:
            return known
        verdict, result = self._found(plan, report)
        if is_settled(verdict, (result.build, *result.runs)):
            cache.put(key, verdict)
        return verdict

    def _found(self, plan: Plan, report: Report) -> tuple[VerifyResult, JobResult]:
        """Build and run a program, and return the verdict with what it rests on."""
        result = self._carry_out(plan, report.tool, report.code.encode("utf-8", "replace"))
        if result.build is not None and not result.build.ok:
            return report.build_failure(result.build), result
        return self._grade(plan, result, report), result

    def _key(self, plan: Plan, report: Report) -> str | None:
        """Return the name of all that decides a verdict, or ``None`` if something has no name."""
        own = {name: one for name, one in vars(self).items() if name not in _NO_SETTINGS}
        try:
            code, tool = code_of(type(self)), tool_facts(report.tool)
        except (OSError, TypeError):
            return None
        settings = (own, self._bench.budget, self._bench.confinement)
        return verdict_key(report.code, plan, settings, tool, code)

    def _carry_out(self, plan: Plan, tool: Tool, source: bytes) -> JobResult:
        """Build the program and run what is planned."""
        runs = trial_steps(plan.trials, tool, self._bench)
        return self._bench.build_and_run(tool, source, runs, link=plan.entry_point is None)

    def _read(
        self, text: str, prompt: Prompt | None, wanted: Sequence[Language]
    ) -> tuple[Language, str | None]:
        """Return the answer's language and its program, or ``None`` when there is none."""
        asked = prompt.reference.entry_point if prompt is not None else None
        shared = {language.entry for language in wanted}
        block = best_block(text, wanted, asked or (shared.pop() if len(shared) == 1 else None))
        if block is None:
            return wanted[0], None
        tagged = find_language(block.tag)
        if tagged is not None and tagged in wanted:
            return tagged, block.code
        return next((one for one in wanted if one.sign.search(block.code)), wanted[0]), block.code

    def _wrong_language(self, prompt: Prompt | None) -> str:
        name = type(self).__name__
        judged = ", ".join(language.name for language in self._languages())
        if prompt is None:
            return f"{name} judges no language"
        return (
            f"prompt {prompt.id!r} asks for {prompt.language!r}, but {name} judges {judged}; "
            "choose another verifier for this prompt or correct its language"
        )


def _unreadable(text: str, wanted: Sequence[Language]) -> str:
    if len(text) > MAX_ANSWER:
        return f"the answer is longer than {MAX_ANSWER >> 10} KiB"
    labels = " or ".join(language.label for language in wanted)
    return f"there is no {labels} program in the answer"
