"""The gold check: reference solutions pass their tests, and empty answers do not.

Something that judges answers is a parameter, because verifiers live above this floor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Prompt, Reference, Sample, Verdict
from halo_forge.data.findings import Finding, Record
from halo_forge.utils.text import fenced

__all__ = ["Judge", "check_gold"]

Judge = Callable[[Sequence[Sample]], Iterable[Verdict]]
"""Judges samples and gives a verdict for each, in any order."""


def check_gold(records: Sequence[Record], judge: Judge) -> list[Finding]:
    """Judge each reference solution (must score 1.0) and an empty answer (must score less).

    The solution is judged on the tests and the hidden tests. What cannot
    be checked is a warning.

    Args:
        records: Records of a prompts file.
        judge: Judges answers by the tests of their prompts.

    Raises:
        VerifierFault: If an answer could not be judged; that is not the file's failing.
    """
    findings: list[Finding] = []
    asked: list[Record] = []
    samples: list[Sample] = []
    for record in records:
        assert record.prompt is not None, "only prompts have references"
        obstacle = _obstacle(record.prompt)
        if obstacle is not None:
            findings.append(record.finding("warning", "gold", obstacle))
        for prompt, answer in _questions(record.prompt):
            asked.append(record)
            samples.append(Sample(prompt, len(samples), answer))
    verdicts = sorted(judge(samples), key=lambda verdict: verdict.sample.index)
    faults = [verdict for verdict in verdicts if verdict.fault is not None]
    if faults:
        raise VerifierFault(
            f"{len(faults)} of {len(verdicts)} answers could not be judged; "
            f"the first, of {faults[0].sample.prompt.id}: {faults[0].fault}"
        )
    for record, verdict in zip(asked, verdicts, strict=True):
        findings += _findings(record, verdict)
    return findings


def _questions(prompt: Prompt) -> Iterator[tuple[Prompt, str]]:
    """Yield the empty answer and the solution, each with the prompt to judge it by."""
    reference = prompt.reference
    if not _is_judged(reference) or _foreign(prompt):
        return
    yield prompt, ""
    if reference.solution is None:
        return
    hidden = tuple(
        dataclasses.replace(case, name=case.name or f"hidden test {number}")
        for number, case in enumerate(reference.hidden_tests, 1)
    )
    if reference.tests and hidden:
        # Judges may remember verdicts by prompt id and answer; with other tests it is another one.
        both = dataclasses.replace(reference, tests=reference.tests + hidden, hidden_tests=())
        prompt = dataclasses.replace(prompt, id=f"{prompt.id}#gold", reference=both)
    answer = fenced(reference.solution, prompt.language or "")
    yield prompt, answer
    if reference.test_code is not None and reference.hidden_test_code is not None:
        own = dataclasses.replace(
            reference, test_code=reference.hidden_test_code, hidden_test_code=None
        )
        yield dataclasses.replace(prompt, id=f"{prompt.id}#hidden", reference=own), answer


def _obstacle(prompt: Prompt) -> str | None:
    if _foreign(prompt):
        return f"test code in {prompt.language} is not run, so it is unchecked"
    if prompt.reference.solution is None:
        return "no reference solution, so its tests are unchecked"
    return None


def _foreign(prompt: Prompt) -> bool:
    """Tell whether the tests are source code that no verifier runs."""
    return prompt.reference.test_code is not None and prompt.language not in {None, "python"}


def _is_judged(reference: Reference) -> bool:
    cases = bool(reference.tests) or reference.expected_output is not None
    return cases or reference.test_code is not None


def _findings(record: Record, verdict: Verdict) -> Iterator[Finding]:
    result = verdict.result
    assert result is not None, "faults were raised"
    if not verdict.sample.completion and result.reward == 1.0:
        message = "an empty answer scores 1.0: the tests test nothing"
        yield record.finding("error", "gold", message)
    elif verdict.sample.completion and result.reward < 1.0:
        why = " ".join((result.error or result.details).split())
        message = f"the reference solution scores {result.reward:g}: {why}"
        yield record.finding("error", "gold", message)
