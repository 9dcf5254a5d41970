"""A command of the user's own as a verifier."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Hashable, Sequence
from pathlib import Path

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Prompt, Sample, VerifyResult
from halo_forge.rlvr.verifiers.base import RewardLevel, Verifier
from halo_forge.rlvr.verifiers.diagnostics import shown
from halo_forge.rlvr.verifiers.extract import extract_code
from halo_forge.rlvr.verifiers.matching import search_job
from halo_forge.rlvr.verifiers.workbench import Budget, SandboxOpener, Workbench
from halo_forge.sandbox import Job, Outcome, Sandbox, Status, Step
from halo_forge.utils.typing import override

__all__ = ["SubprocessVerifier"]

_FILE = "{file}"


class SubprocessVerifier(Verifier):
    """Writes the program of an answer to a file and asks a command: 1.0 if content, else 0.0.

    The command runs in the sandbox, where it finds the system's programs and the file, and has no
    network. It is content when it ends with exit code 0 and, with a ``success_pattern``, when that
    is found in what it printed. Such a verdict is ``weak``: if the command runs the program, the
    program can do both itself.

    ::

        SubprocessVerifier("python3 -m json.tool {file}", file_extension=".json")

    Args:
        command: Arguments, or one text that is split as a shell would; ``{file}`` stands for the
            path of the file.
        success_pattern: Regular expression to be found in standard output or standard error.
        file_extension: Of the file, with its dot.
        timeout: CPU seconds of the command.
        language: Of the program that is looked for in the answer; any when absent.
        shell: Give the whole text to ``sh``, with its pipes and variables.
        memory_limit_mb: MiB of memory of the command.
        max_workers: Answers judged at one time; cores and one more when absent.
        sandbox: Sandbox to use, which stays open, or what opens one; the best there is when absent.

    Raises:
        ValueError: If the command has no ``{file}``, the pattern is none, the extension is no
            plain ending, or a limit is not positive.
    """

    def __init__(  # noqa: PLR0913 - the public signature of the contract
        self,
        command: str | Sequence[str],
        success_pattern: str | None = None,
        file_extension: str = ".txt",
        timeout: float = 30,
        language: str | None = None,
        shell: bool = False,
        memory_limit_mb: int = 512,
        max_workers: int | None = None,
        sandbox: Sandbox | SandboxOpener | None = None,
    ) -> None:
        super().__init__(max_workers)
        if not re.fullmatch(r"(?:\.\w+)*", file_extension):
            raise ValueError(f"file_extension must be like '.py', got {file_extension!r}")
        if success_pattern is not None:
            _check(success_pattern)
        self._file = f"answer{file_extension}"
        self._argv = _argv(command, self._file, shell=shell)
        self._pattern = success_pattern
        self._language = language
        budget = Budget(timeout, timeout, memory_limit_mb)
        self._bench = Workbench(sandbox, self.max_workers, budget)

    @override
    def verify(self, code: str) -> VerifyResult:
        """Judge the program in ``code``, an answer or bare source."""
        program = self.extract_code(code)
        if not program.strip():
            return self._verdict("extract", "there is no program in the answer")
        step = Step(self._argv, limits=self._bench.budget.run())
        outcome = self._bench.run(Job({self._file: _encoded(program)}, None, (step,))).runs[0]
        if not outcome.ok:
            return self._verdict("run", _ending(outcome), said=_said(outcome))
        if self._pattern is not None and not self._is_found(self._pattern, outcome):
            return self._verdict("output", "the pattern is not in its output", said=_said(outcome))
        return self._verdict("output", "the command is content", success=True)

    @override
    def identity(self, sample: Sample) -> Hashable:
        """Return the program: neither prose around it nor the prompt changes anything."""
        return self.extract_code(sample.completion)

    @override
    def extract_code(self, text: str) -> str:
        """Return the program in an answer, or ``""`` when there is none."""
        return extract_code(text, self._language)

    @override
    def start(self, prompts: Sequence[Prompt] = ()) -> None:
        """Open the sandbox and look for the command.

        Raises:
            VerifierFault: If there is no sandbox, or no such command.
        """
        program = self._argv[0]
        found = program if Path(program).is_absolute() else shutil.which(program)
        if found is None or not Path(found).is_file():
            raise VerifierFault(f"the verifier's command {program!r} is not on PATH")
        self._bench.open()

    @override
    def fingerprint(self) -> str:
        """Return the class, the command and the pattern."""
        return f"{super().fingerprint()}: {shlex.join(self._argv)} {self._pattern!r}"

    @override
    def cleanup(self) -> None:
        """Close the sandbox, if it is an own one."""
        self._bench.close()

    def _is_found(self, pattern: str, outcome: Outcome) -> bool:
        texts = [stream.decode("utf-8", "replace") for stream in (outcome.stdout, outcome.stderr)]
        return any(
            run.ok for run in self._bench.run(search_job([(pattern, t) for t in texts])).runs
        )

    def _verdict(
        self, stage: str, details: str, *, success: bool = False, said: str | None = None
    ) -> VerifyResult:
        level = RewardLevel.CORRECT_OUTPUT if success else RewardLevel.FAILURE
        metadata = {
            "stage": stage,
            "toolchain": self._argv[0],
            "backend": self._bench.backend,
            "integrity": "weak",
        }
        return VerifyResult(success, level.value, details, said, metadata)


def _argv(command: str | Sequence[str], file: str, *, shell: bool) -> tuple[str, ...]:
    words = [command] if isinstance(command, str) else list(command)
    if not any(_FILE in word for word in words):
        raise ValueError(f"the command needs {_FILE} where the program's file belongs: {command!r}")
    if shell:
        text = command if isinstance(command, str) else shlex.join(command)
        return "sh", "-c", text.replace(_FILE, file)
    if isinstance(command, str):
        words = shlex.split(command)
    return tuple(word.replace(_FILE, file) for word in words)


def _check(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"success_pattern {pattern!r} is no pattern: {error}") from error


def _encoded(program: str) -> bytes:
    return program.encode("utf-8", "replace")


def _ending(outcome: Outcome) -> str:
    if outcome.status is Status.NONZERO:
        return f"the command ended with exit code {outcome.code}"
    return f"the command ended with {str(outcome.status).replace('_', ' ')}"


def _said(outcome: Outcome) -> str | None:
    """Return the beginning of what the command complained about, or else printed."""
    text = (outcome.stderr or outcome.stdout).decode("utf-8", "replace").strip()
    return shown("\n".join(text.splitlines()[:3])) or None
