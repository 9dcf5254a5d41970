"""Judged answers of a run, read through a typed door, found and ordered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from halo_forge.core.types import Prompt, VerifyResult
from halo_forge.data.prompts import load_prompts
from halo_forge.rlvr.statistics import compiled, error_class
from halo_forge.rlvr.verifiers.extract import extract_code
from halo_forge.store.judged import Judged, read_judged
from halo_forge.store.run_dir import RunDir

__all__ = [
    "Answer",
    "Kind",
    "Outcome",
    "Wanted",
    "all_cycles",
    "best",
    "diagnostics",
    "outcome",
    "program",
    "read_answers",
    "sample_document",
    "select_answers",
    "worst",
]

Kind = Literal["training", "heldout"]
Outcome = Literal["pass", "compiles", "fails"]

_PASSED: Outcome = "pass"


@dataclass(frozen=True, slots=True)
class Answer:
    """One judged answer of a run.

    Attributes:
        kind: Whether it was given for training or to measure.
        cycle: The cycle, 0 for the held-out answers before the first.
        id: ``prompt_id#index``, unique within a cycle and kind.
        prompt_id: Its prompt.
        index: Position among the answers to this prompt, from 0.
        prompt: What was asked; None when the run's prompts file does not have it.
        completion: The whole answer.
        finish_reason: ``stop``, or ``length`` when it was cut.
        policy: Which checkpoint spoke.
        result: The verdict.
    """

    kind: Kind
    cycle: int
    id: str
    prompt_id: str
    index: int
    prompt: Prompt | None
    completion: str
    finish_reason: str
    policy: str
    result: VerifyResult


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which answers are wanted; what is empty or None asks for nothing.

    Attributes:
        cycles: Their cycle is one of these.
        prompt: Their prompt has this id, or this in its text, whatever the case.
        text: They have this in them, whatever the case.
        outcome: How far they got.
        error: Their class of error; see `halo_forge.rlvr.statistics.error_class`.
    """

    cycles: tuple[int, ...] = ()
    prompt: str | None = None
    text: str | None = None
    outcome: Outcome | None = None
    error: str | None = None

    def takes(self, answer: Answer) -> bool:
        """Tell whether ``answer`` is wanted."""
        return (
            (not self.cycles or answer.cycle in self.cycles)
            and (self.prompt is None or _is_about(answer, self.prompt))
            and (self.text is None or self.text.casefold() in answer.completion.casefold())
            and (self.outcome is None or self.outcome == outcome(answer.result))
            and (self.error is None or self.error == error_class(answer.result))
        )


def _is_about(answer: Answer, words: str) -> bool:
    text = answer.prompt.text if answer.prompt is not None else ""
    return answer.prompt_id == words or words.casefold() in text.casefold()


def all_cycles(run: Path, kind: Kind) -> list[int]:
    """Return the cycles with answers of ``kind``, in order."""
    folder = RunDir(run)
    return folder.verified_cycles if kind == "training" else folder.eval_cycles


def read_answers(run: Path, kind: Kind, cycles: Iterable[int] | None = None) -> Iterator[Answer]:
    """Yield judged answers, by cycle, then in the order of prompts and indices.

    One cycle is held in memory at a time, without its tokens.

    Args:
        run: The run directory.
        kind: Answers that were given for training, or to held-out prompts.
        cycles: Only these cycles; all of them when absent.

    Raises:
        StoreFault: If a journal is damaged.
        ConfigError: If the run's prompts file is.
    """
    folder = RunDir(run)
    there = all_cycles(run, kind)
    if not there:
        return
    path = folder.prompts_path if kind == "training" else folder.eval_prompts_path
    known = load_prompts(path, pictures=False) if path.is_file() else ()
    prompts = {prompt.id: prompt for prompt in known}
    order = {name: number for number, name in enumerate(prompts)}
    for cycle in there if cycles is None else [n for n in there if n in set(cycles)]:
        journal = folder.verified_path(cycle) if kind == "training" else folder.eval_path(cycle)
        found = [_answer(kind, cycle, line, prompts) for line in read_judged(journal)]
        last = len(order)
        yield from sorted(found, key=lambda a: (order.get(a.prompt_id, last), a.prompt_id, a.index))


def _answer(kind: Kind, cycle: int, line: Judged, prompts: Mapping[str, Prompt]) -> Answer:
    return Answer(
        kind=kind,
        cycle=cycle,
        id=line.id,
        prompt_id=line.prompt_id,
        index=line.index,
        prompt=prompts.get(line.prompt_id),
        completion=line.completion,
        finish_reason=line.finish_reason,
        policy=line.policy,
        result=line.result,
    )


def select_answers(
    answers: Iterable[Answer], wanted: Wanted, offset: int, limit: int
) -> tuple[list[Answer], int]:
    """Return one page of the wanted answers, and how many are wanted in all."""
    page: list[Answer] = []
    total = 0
    for answer in answers:
        if wanted.takes(answer):
            if offset <= total < offset + limit:
                page.append(answer)
            total += 1
    return page, total


def outcome(result: VerifyResult) -> Outcome:
    """Return how far an answer got."""
    if result.success:
        return _PASSED
    return "compiles" if compiled(result) else "fails"


def diagnostics(result: VerifyResult) -> list[str]:
    """Return what the verifier said, without saying it twice."""
    said = [text.rstrip() for text in (result.details, result.error) if text]
    return said[:1] if len(said) > 1 and said[1] in said[0] else said


def program(answer: Answer) -> str:
    """Return the code in an answer, or ``""``; what a verifier adds to it is not there."""
    language = answer.result.metadata.get("language")
    entry = None
    if answer.prompt is not None:
        language = language or answer.prompt.language
        entry = answer.prompt.reference.entry_point
    return extract_code(answer.completion, str(language) if language else None, entry)


def sample_document(answer: Answer) -> dict[str, Any]:
    """Return an answer for programs."""
    result = answer.result
    return {
        "id": answer.id,
        "kind": answer.kind,
        "cycle": answer.cycle,
        "policy": answer.policy,
        "prompt_id": answer.prompt_id,
        "prompt": answer.prompt.text if answer.prompt is not None else None,
        "completion": answer.completion,
        "code": program(answer),
        "finish_reason": answer.finish_reason,
        "outcome": outcome(result),
        "success": result.success,
        "reward": result.reward,
        "details": result.details,
        "error": result.error,
        "error_class": error_class(result),
        "metadata": dict(result.metadata),
    }


def best(answers: Sequence[Answer], count: int) -> list[Answer]:
    """Return the highest rewards, one a prompt; of equal ones those to the hardest prompts."""
    rates = _rates(answers)
    return _one_a_prompt(
        sorted(answers, key=lambda a: (-a.result.reward, rates[a.prompt_id], a.id)), count
    )


def worst(answers: Sequence[Answer], count: int) -> list[Answer]:
    """Return the lowest rewards that are no success, one a prompt; easiest prompts first."""
    rates = _rates(answers)
    failed = [a for a in answers if not a.result.success]
    return _one_a_prompt(
        sorted(failed, key=lambda a: (a.result.reward, -rates[a.prompt_id], a.id)), count
    )


def _rates(answers: Sequence[Answer]) -> Mapping[str, float]:
    """Return the pass rate of each prompt."""
    groups: dict[str, list[bool]] = {}
    for answer in answers:
        groups.setdefault(answer.prompt_id, []).append(answer.result.success)
    return {name: sum(group) / len(group) for name, group in groups.items()}


def _one_a_prompt(answers: Iterable[Answer], count: int) -> list[Answer]:
    first: dict[str, Answer] = {}
    for answer in answers:
        first.setdefault(answer.prompt_id, answer)
    return list(first.values())[:count]
