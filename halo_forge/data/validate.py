"""Checks of a prompts file: every finding with its line, and what it costs to leave it.

`check_prompts` needs the file alone, `check_overlap` a second one, and `check_gold` something
that judges answers; it is a parameter because verifiers live above this floor.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Prompt, Reference, Sample, TestCase, Verdict
from halo_forge.data.prompts import Entry, Scan
from halo_forge.data.similarity import near_pairs
from halo_forge.utils.text import fenced

__all__ = ["Finding", "Judge", "Report", "check_gold", "check_overlap", "check_prompts"]

Judge = Callable[[Sequence[Sample]], Iterable[Verdict]]
"""Judges samples and gives a verdict for each, in any order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong (``error``) or suspicious (``warning``) about a prompts file.

    Attributes:
        rule: Short name of the check that found it.
        line: Where it was found, from 1; ``None`` when it concerns the whole file.
        id: The prompt's id, when the line has one.
    """

    level: Literal["error", "warning"]
    rule: str
    message: str
    line: int | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of a prompts file, by line."""

    source: str
    prompts: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """Number of findings that make the file unfit."""
        return sum(finding.level == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """Number of findings to look at."""
        return len(self.findings) - self.errors

    def joined(self, further: Iterable[Finding]) -> Report:
        """Return the report with further findings, again by line."""
        findings = sorted((*self.findings, *further), key=lambda finding: finding.line or 0)
        return dataclasses.replace(self, findings=tuple(findings))


def check_prompts(scan: Scan) -> Report:
    """Check a file on its own: unreadable lines, repeats, near-duplicates, weak tests."""
    findings = [
        Finding("error", problem.rule, problem.reason, problem.line, problem.id)
        for problem in scan.problems
    ]
    if not scan.entries and not scan.problems:
        findings.append(Finding("error", "empty", "holds no prompts"))
    for entry in scan.entries:
        findings += _test_findings(entry)
    findings += _near_findings(scan.entries)
    return Report(scan.source, len(scan.entries), ()).joined(findings)


def check_overlap(scan: Scan, against: Scan) -> list[Finding]:
    """Find prompts of ``scan`` that ``against`` has too, word for word or nearly.

    A score on prompts that were trained on says nothing, so the same prompt is an error; a near
    one is a warning, because tasks can be told in similar words and differ.
    """
    theirs = {_turns(entry.prompt): entry.line for entry in against.entries}
    findings, rest = [], []
    for entry in scan.entries:
        line = theirs.get(_turns(entry.prompt))
        if line is None:
            rest.append(entry)
        else:
            message = f"the same prompt as {against.source}:{line}"
            findings.append(_finding("error", "overlap", entry, message))
    for mine, other, similarity in near_pairs(_texts(rest), _texts(against.entries)):
        message = f"{similarity:.0%} the same as {against.source}:{against.entries[other].line}"
        findings.append(_finding("warning", "near-overlap", rest[mine], message))
    return findings


def check_gold(scan: Scan, judge: Judge) -> list[Finding]:
    """Judge each reference solution (must score 1.0) and an empty answer (must score less).

    The solution is judged on the tests and the hidden tests together. What this cannot check, a
    prompt without a solution or with test code instead of cases, is a warning.

    Raises:
        VerifierFault: If an answer could not be judged; that is not the file's failing.
    """
    findings: list[Finding] = []
    asked: list[Entry] = []
    samples: list[Sample] = []
    for entry in scan.entries:
        obstacle = _gold_obstacle(entry.prompt.reference)
        if obstacle is not None:
            findings.append(_finding("warning", "gold", entry, obstacle))
        for prompt, answer in _gold_questions(entry.prompt):
            asked.append(entry)
            samples.append(Sample(prompt, len(samples), answer))
    verdicts = sorted(judge(samples), key=lambda verdict: verdict.sample.index)
    faults = [verdict for verdict in verdicts if verdict.fault is not None]
    if faults:
        raise VerifierFault(
            f"{len(faults)} of {len(verdicts)} answers could not be judged; "
            f"the first, of {faults[0].sample.prompt.id}: {faults[0].fault}"
        )
    for entry, verdict in zip(asked, verdicts, strict=True):
        findings += _gold_findings(entry, verdict)
    return findings


def _finding(level: Literal["error", "warning"], rule: str, entry: Entry, message: str) -> Finding:
    return Finding(level, rule, message, entry.line, entry.prompt.id)


def _turns(prompt: Prompt) -> tuple[str, ...]:
    # The system message sets the manner, not the task.
    return tuple(turn.content for turn in prompt.messages if turn.role != "system")


def _texts(entries: Iterable[Entry]) -> list[str]:
    return ["\n".join(_turns(entry.prompt)) for entry in entries]


def _near_findings(entries: Sequence[Entry]) -> Iterator[Finding]:
    for mine, other, similarity in near_pairs(_texts(entries)):
        message = f"{similarity:.0%} the same as line {entries[other].line}"
        yield _finding("warning", "near-duplicate", entries[mine], message)


def _is_judged(reference: Reference) -> bool:
    return bool(reference.tests or reference.test_code) or reference.expected_output is not None


def _test_findings(entry: Entry) -> Iterator[Finding]:
    """Check what the tests of one prompt can tell apart."""
    reference = entry.prompt.reference
    if not _is_judged(reference):
        yield _finding("warning", "no-tests", entry, "no tests, so only compilation can be judged")
    for name, cases in (("tests", reference.tests), ("hidden_tests", reference.hidden_tests)):
        yield from _case_findings(entry, name, cases)
    shown = {case.input for case in reference.tests}
    repeated = sum(case.input in shown for case in reference.hidden_tests)
    if repeated:
        message = f"{repeated} of the hidden tests have the input of a test, so they hide nothing"
        yield _finding("warning", "hidden-test-repeats", entry, message)


def _case_findings(entry: Entry, name: str, cases: Sequence[TestCase]) -> Iterator[Finding]:
    outputs = defaultdict(set)
    for case in cases:
        outputs[case.input].add(tuple(case.expected.split()))
    contradicted = [given for given, expected in outputs.items() if len(expected) > 1]
    if contradicted:
        message = f"{name} expect different outputs for the input {contradicted[0]!r}"
        yield _finding("error", "contradiction", entry, message)
    elif len(outputs) < len(cases):
        message = f"{len(cases) - len(outputs)} of the {name} repeat another one"
        yield _finding("warning", "test-repeats", entry, message)
    if len(cases) > 1 and len({case.expected for case in cases}) == 1:
        message = f"all {name} expect the same output: a program that prints it passes"
        yield _finding("warning", "constant-output", entry, message)


def _gold_obstacle(reference: Reference) -> str | None:
    if reference.test_code is not None:
        return "test code is not run by the gold check, so it is unchecked"
    if reference.solution is None:
        return "no reference solution, so its tests are unchecked"
    return None


def _gold_questions(prompt: Prompt) -> Iterator[tuple[Prompt, str]]:
    """Yield the empty answer and the solution, each with the prompt to judge it by."""
    reference = prompt.reference
    if not reference.tests and reference.expected_output is None:
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
    yield prompt, fenced(reference.solution, prompt.language or "")


def _gold_findings(entry: Entry, verdict: Verdict) -> Iterator[Finding]:
    result = verdict.result
    assert result is not None, "faults were raised"
    if not verdict.sample.completion and result.reward == 1.0:
        yield _finding("error", "gold", entry, "an empty answer scores 1.0: the tests test nothing")
    elif verdict.sample.completion and result.reward < 1.0:
        why = " ".join((result.error or result.details).split())
        message = f"the reference solution scores {result.reward:g}: {why}"
        yield _finding("error", "gold", entry, message)
