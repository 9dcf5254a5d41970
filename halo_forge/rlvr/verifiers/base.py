"""What a verifier is: a judge of one answer, and nothing that trains, generates or stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from types import TracebackType
from typing import Self

from halo_forge.core.identity import content_id
from halo_forge.core.types import Message, Prompt, Sample, VerifyResult
from halo_forge.rlvr.verifiers.batch import FaultRecord, verify_each
from halo_forge.rlvr.verifiers.extract import extract_code
from halo_forge.utils.kernel_facts import workers_for_all_cores

__all__ = ["RewardLevel", "Verifier"]


class RewardLevel(float, Enum):
    """The ladder of rewards for programs, from nothing to the right output."""

    FAILURE = 0.0
    COMPILE_WARNINGS = 0.3
    COMPILE_CLEAN = 0.5
    RUNS_NO_CRASH = 0.7
    CORRECT_OUTPUT = 1.0


class Verifier(ABC):
    """Judges answers; subclass it, write `verify`, and training and benchmarks can use it.

    A verdict is deterministic: the same answer to the same prompt gets the same verdict, in any
    order and with any number of workers. What keeps a verifier from judging (a missing compiler,
    a broken sandbox) is a `VerifierFault`, never a low reward. `verify` and `judge` are called
    from several threads at once.

    Args:
        max_workers: Answers judged at one time; cores and one more when absent.

    Raises:
        ValueError: If ``max_workers`` is less than 1.
    """

    max_workers: int = 1

    known_answers: str = "programs"
    """Answers that come with halo-forge by which an audit tries such a verifier."""

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, got {max_workers}")
        self.max_workers = max_workers or workers_for_all_cores()

    @abstractmethod
    def verify(self, code: str) -> VerifyResult:
        """Judge one answer on its own.

        Raises:
            VerifierFault: If it could not be judged, through no fault of the answer.
        """

    def judge(self, sample: Sample) -> VerifyResult:
        """Judge an answer together with its prompt, whose tests a subclass may use.

        Raises:
            VerifierFault: If it could not be judged, through no fault of the answer.
        """
        return self.verify(sample.completion)

    def verify_batch(
        self, codes: Sequence[str], prompts: Sequence[Prompt | str] | None = None
    ) -> list[VerifyResult | FaultRecord]:
        """Judge many answers in parallel and return the verdicts in the order of ``codes``.

        An answer that could not be judged gives a `FaultRecord` in its place; the others keep
        their verdicts. With ``prompts`` each answer is judged as `judge` does, otherwise as
        `verify` does.

        Raises:
            ValueError: If there are prompts, but not one for each answer.
        """
        if prompts is None:
            return verify_each(self, [(code, None) for code in codes])
        pairs = zip(codes, prompts, strict=True)
        return verify_each(self, [(code, _as_prompt(prompt)) for code, prompt in pairs])

    def identity(self, sample: Sample) -> Hashable:
        """Return what the verdict depends on; samples with equal identities are judged once."""
        return sample.prompt.id, sample.completion

    def extract_code(self, text: str) -> str:
        """Return the program in an answer, or ``""`` when there is none."""
        return extract_code(text)

    def program(self, sample: Sample) -> str:
        """Return the program of a sample as it is judged, or ``""`` when there is none."""
        return self.extract_code(sample.completion)

    def start(self, prompts: Sequence[Prompt] = ()) -> None:
        """Check now, rather than at the first answer, that answers can be judged.

        Args:
            prompts: Those to which answers will come; without any, all that the verifier might
                need is tried.

        Raises:
            VerifierFault: If they cannot.
        """

    def fingerprint(self) -> str:
        """Return what verdicts depend on beside answers and settings, such as compiler versions.

        A run directory is not continued with another fingerprint. Call it after `start`.
        """
        return f"{type(self).__module__}.{type(self).__qualname__}"

    def afresh(self) -> AbstractContextManager[None]:
        """Return a context in which no verdict is remembered: each answer is judged anew."""
        return nullcontext()

    def cleanup(self) -> None:
        """Free what the verifier holds; it may be used again afterwards."""

    def __enter__(self) -> Self:
        """Return the verifier itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Call `cleanup`."""
        self.cleanup()


def _as_prompt(prompt: Prompt | str) -> Prompt:
    if isinstance(prompt, Prompt):
        return prompt
    return Prompt(content_id(prompt), (Message("user", prompt),))
