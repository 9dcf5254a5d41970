"""Tasks whose tests are of different kinds in one set, each judged by the verifier of its kind."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Prompt, Sample, VerifyResult
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.rlvr.verifiers.execution import ExecutionVerifier
from halo_forge.rlvr.verifiers.test_runner import MBPPVerifier
from halo_forge.rlvr.verifiers.workbench import SandboxOpener
from halo_forge.sandbox import Sandbox
from halo_forge.utils.typing import override

__all__ = ["TestsVerifier"]


class TestsVerifier(Verifier):
    """Judges programs by input and output, Python functions by test code, as the prompt has tests.

    Programs go to `ExecutionVerifier`, functions to `MBPPVerifier`; success means that all tests
    pass, either way. LiveCodeBench has both kinds.

    Args:
        timeout: CPU seconds of a compilation, and of all tests of a function together.
        run_timeout: CPU seconds of one test of a program.
        memory_limit_mb: MiB of memory of a run.
        max_workers: Answers judged at one time; cores and one more when absent.
        score_hidden: Also run hidden tests and report them; they never touch the reward.
        sandbox: Sandbox to use, which stays open, or what opens one; the best there is when absent.

    Raises:
        ValueError: If a limit is not positive.
    """

    __test__ = False  # pytest: not a test class

    def __init__(
        self,
        timeout: float = 30,
        run_timeout: float = 5,
        memory_limit_mb: int = 512,
        max_workers: int | None = None,
        score_hidden: bool = False,
        sandbox: Sandbox | SandboxOpener | None = None,
    ) -> None:
        super().__init__(max_workers)
        self._programs = ExecutionVerifier(
            timeout=timeout, run_timeout=run_timeout, memory_limit_mb=memory_limit_mb,
            max_workers=max_workers, score_hidden=score_hidden, sandbox=sandbox,
        )  # fmt: skip
        self._functions = MBPPVerifier(
            timeout=timeout, memory_limit_mb=memory_limit_mb,
            max_workers=max_workers, score_hidden=score_hidden, sandbox=sandbox,
        )  # fmt: skip

    @override
    def verify(self, code: str) -> VerifyResult:
        """Refuse: tests come with prompts.

        Raises:
            VerifierFault: Always.
        """
        raise VerifierFault("verifier tests judges answers to prompts that bring tests")

    @override
    def judge(self, sample: Sample) -> VerifyResult:
        """Judge an answer by its prompt's kind of tests."""
        return self._of(sample.prompt).judge(sample)

    @override
    def identity(self, sample: Sample) -> Hashable:
        """Return what the verdict of that kind depends on."""
        return self._of(sample.prompt).identity(sample)

    @override
    def program(self, sample: Sample) -> str:
        """Return the program as it is judged."""
        return self._of(sample.prompt).program(sample)

    @override
    def start(self, prompts: Sequence[Prompt] = ()) -> None:
        """Start what these prompts need."""
        for verifier in self._both:
            some = [prompt for prompt in prompts if self._of(prompt) is verifier]
            if some or not prompts:
                verifier.start(some)

    @override
    def fingerprint(self) -> str:
        """Return the fingerprints of both."""
        return f"{super().fingerprint()}: {[one.fingerprint() for one in self._both]}"

    @override
    @contextmanager
    def afresh(self) -> Iterator[None]:
        """Let neither remember verdicts while the context lasts."""
        with ExitStack() as contexts:
            for verifier in self._both:
                contexts.enter_context(verifier.afresh())
            yield

    @override
    def cleanup(self) -> None:
        """Free what both hold."""
        for verifier in self._both:
            verifier.cleanup()

    @property
    def _both(self) -> tuple[Verifier, Verifier]:
        return self._programs, self._functions

    def _of(self, prompt: Prompt) -> Verifier:
        return self._functions if prompt.reference.test_code is not None else self._programs
