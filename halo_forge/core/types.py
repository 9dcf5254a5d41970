"""The nouns of halo-forge, in the order in which a prompt becomes a better model.

::

    Prompt --engine--> Sample --verifier--> Verdict --selection--> TrainingExample
                                                                   --learner--> checkpoint

All are frozen: validated where data enters (`halo_forge.data`), trusted inside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = [
    "FinishReason",
    "Message",
    "Prompt",
    "Reference",
    "Sample",
    "TestCase",
    "TrainingExample",
    "Verdict",
    "VerifyResult",
]

FinishReason = Literal["stop", "length"]
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat.

    Attributes:
        role: ``system``, ``user`` or ``assistant``.
        content: Its words.
        images: Pictures shown before them, while a chat is put into a model's form.
    """

    role: str
    content: str
    images: int = 0


@dataclass(frozen=True, slots=True)
class TestCase:
    """One input/output case for a program.

    Attributes:
        input: Text given on standard input.
        expected: Text that standard output is compared with, by the verifier's match mode.
        name: Shown in reports; the position is used when absent.
        timeout: CPU seconds for this case; the verifier's ``run_timeout`` when absent.
    """

    __test__ = False  # pytest: not a test class

    input: str
    expected: str
    name: str | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """What is known about the right answer; never shown to the model.

    Attributes:
        tests: Input/output cases that decide the reward.
        hidden_tests: Cases that are scored and reported, never rewarded.
        test_code: Source of tests that call the answer's functions.
        hidden_test_code: Source of such tests that are scored and reported, never rewarded.
        entry_point: Function or class that ``test_code`` calls.
        expected_output: Expected standard output of a program without input.
        solution: A program that passes, when one is known.
        ground_truth: The right answer to a question, in words or figures.
        alternatives: Other answers that are as right.
    """

    tests: tuple[TestCase, ...] = ()
    hidden_tests: tuple[TestCase, ...] = ()
    test_code: str | None = None
    hidden_test_code: str | None = None
    entry_point: str | None = None
    expected_output: str | None = None
    solution: str | None = None
    ground_truth: str | None = None
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """A task put to the model.

    Attributes:
        id: Content hash or data-set id, never a row number.
        messages: The chat so far; the last message is the user's.
        reference: Tests and truths for the verifier.
        language: Language asked for (``cpp``, ``python``, ...), when the task names one.
        category: Free label used for tables.
        difficulty: 1 (easiest) to 5, when known.
        images: Pictures the user shows before the first of their words: files, ``data:`` addresses
            with the picture in them, or addresses on the web.
    """

    id: str
    messages: tuple[Message, ...]
    reference: Reference = Reference()
    language: str | None = None
    category: str | None = None
    difficulty: int | None = None
    images: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The user's last words, as verifiers and reports need them."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of a policy to a prompt, with the evidence needed to train on it.

    Attributes:
        prompt: The prompt that was answered.
        index: Position among the samples of this prompt, from 0.
        completion: Decoded answer without special tokens, up to a stop string.
        prompt_ids: Token ids the model was given.
        token_ids: Token ids the model produced, the end token included when it produced one.
        logprobs: Log-probability of each produced token under the sampling distribution
            (after penalty, temperature and truncation), same length as ``token_ids``.
        finish_reason: ``stop`` when the model ended by itself or said a stop string, ``length``
            when it was cut.
        policy: Which checkpoint spoke.
        token_count: Tokens produced, where a server tells how many but not which.
    """

    prompt: Prompt
    index: int
    completion: str
    prompt_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish_reason: FinishReason = "stop"
    policy: str = ""
    token_count: int = 0

    @property
    def id(self) -> str:
        """``prompt.id#index``, unique within a cycle."""
        return f"{self.prompt.id}#{self.index}"

    @property
    def length(self) -> int:
        """How many tokens the model produced, as far as that is known."""
        return len(self.token_ids) or self.token_count


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """A verifier's judgement of one answer.

    Attributes:
        success: The answer does what was asked, as far as this verifier can tell.
        reward: Finite, in [0, 1]. The ladder is ``halo_forge.rlvr.verifiers.base.RewardLevel``.
        details: One line for a person.
        error: First diagnostic, when there is one.
        metadata: ``stage`` reached, ``toolchain``, limits hit, ``integrity`` (``strong`` or
            ``weak``), sandbox ``backend``; JSON-serialisable.

    Raises:
        ValueError: If ``reward`` is not a finite number in [0, 1].
    """

    success: bool
    reward: float
    details: str = ""
    error: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a reward that selection could not rank."""
        if not (math.isfinite(self.reward) and 0.0 <= self.reward <= 1.0):
            raise ValueError(f"reward must be a finite number in [0, 1], got {self.reward!r}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A sample with its judgement, or with the fault that prevented one.

    Exactly one of ``result`` and ``fault`` is set. A fault has no reward, is never trained on,
    and stays owed.
    """

    sample: Sample
    result: VerifyResult | None = None
    fault: str | None = None

    def __post_init__(self) -> None:
        """Hold the invariant that a verdict is a judgement or a fault."""
        if (self.result is None) == (self.fault is None):
            raise ValueError(f"{self.sample.id}: a verdict has either a result or a fault")


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """What the learner sees: the very tokens that were sampled, or those of a training record.

    Attributes:
        id: The sample's id.
        input_ids: Prompt and completion token ids.
        completion_start: Index of the first completion token; everything before carries no loss.
        logprobs: Behaviour log-probabilities of the completion tokens (raft++ and diagnostics).
        masked: Half-open ranges behind ``completion_start`` without loss, in order: the turns of a
            chat between its answers.
        weight: What the example counts in the loss; below 0 it is made less likely.
        images: Pictures that ``input_ids`` have places for, as `Prompt.images` names them.
    """

    id: str
    input_ids: Sequence[int]
    completion_start: int
    logprobs: tuple[float, ...] = ()
    masked: tuple[tuple[int, int], ...] = ()
    weight: float = 1.0
    images: tuple[str, ...] = ()

    @property
    def labels(self) -> list[int]:
        """``input_ids`` with -100 (ignored by the loss) over all that carries none."""
        labels = [-100] * self.completion_start + list(self.input_ids[self.completion_start :])
        for start, end in self.masked:
            labels[start:end] = [-100] * (end - start)
        return labels

    @property
    def loss_tokens(self) -> int:
        """How many tokens carry loss."""
        masked = sum(end - start for start, end in self.masked)
        return len(self.input_ids) - self.completion_start - masked
