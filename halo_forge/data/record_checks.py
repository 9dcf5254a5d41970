"""Checks of one record by itself: its code, its tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from halo_forge.core.types import Reference, TestCase
from halo_forge.data.code import Block, code_blocks, find_flaw, kindred, misnamed
from halo_forge.data.findings import Finding, Level, Record
from halo_forge.utils.text import language_name

__all__ = ["code_findings", "test_findings"]

_LANGUAGE_KEYS = ("language", "lang", "programming_language")


def code_findings(record: Record) -> Iterator[Finding]:
    """Check that code which is learned from is there, whole, and in the language it claims."""
    claimed = _claimed(record)
    if record.prompt is not None:
        solution = record.prompt.reference.solution
        if solution is not None:
            blocks = code_blocks(solution) or [Block(solution, claimed or "", closed=True)]
            yield from _blocks_findings(record, blocks, claimed)
        return
    answers = [turn.content for turn in record.messages if turn.role == "assistant"]
    blocks = [block for answer in answers for block in code_blocks(answer)]
    if record.text is not None:
        blocks += code_blocks(record.text)
    elif not blocks and claimed and answers:
        blocks = [Block(answers[-1], claimed, closed=True)]
    yield from _blocks_findings(record, blocks, claimed)


def test_findings(record: Record, reference: Reference) -> Iterator[Finding]:
    """Check what the tests of a prompt can tell apart."""
    told = (reference.expected_output, reference.ground_truth)
    judged = reference.tests or reference.test_code or any(one is not None for one in told)
    if not judged:
        message = "no tests, so only compilation can be judged"
        yield record.finding("warning", "no-tests", message)
    for name, cases in (("tests", reference.tests), ("hidden_tests", reference.hidden_tests)):
        yield from _case_findings(record, name, cases)
    shown = {case.input for case in reference.tests}
    repeated = sum(case.input in shown for case in reference.hidden_tests)
    if repeated:
        message = f"{repeated} of the hidden tests have the input of a test, so they hide nothing"
        yield record.finding("warning", "hidden-test-repeats", message)


def _claimed(record: Record) -> str | None:
    """Return the language that the record itself names, by its one name."""
    if record.prompt is not None:
        return record.prompt.language
    notes = record.row.get("metadata")
    places: list[Any] = [record.row, notes if isinstance(notes, dict) else {}]
    named = (place.get(key) for place in places for key in _LANGUAGE_KEYS)
    return next(
        (name for one in named if isinstance(one, str) and (name := language_name(one))), None
    )


def _blocks_findings(
    record: Record, blocks: Sequence[Block], claimed: str | None
) -> Iterator[Finding]:
    tags = {name for block in blocks if (name := language_name(block.tag))}
    if claimed and tags and not any(kindred(tag, claimed) for tag in tags):
        message = f"says it is {claimed}, and its code says it is {', '.join(sorted(tags))}"
        yield record.finding("warning", "language-mismatch", message)
        return
    for block in blocks:
        yield from _block_findings(record, block, block.tag or claimed)


def _block_findings(record: Record, block: Block, language: str | None) -> Iterator[Finding]:
    """Yield the first thing that is wrong with a block: what follows from it is no further one."""
    if not block.closed:
        yield record.finding("error", "unclosed-fence", "a code block is never closed")
    elif not block.code.strip():
        yield record.finding("error", "empty-code", "a code block is empty")
    elif language and (other := misnamed(block.code, language)):
        message = f"code that says it is {language} is {other}"
        yield record.finding("warning", "language-mismatch", message)
    elif flaw := find_flaw(block.code, language):
        cut = flaw.certain and flaw.rule == "truncated-code"
        level: Level = "error" if cut else "warning"
        yield record.finding(level, flaw.rule, flaw.message)


def _case_findings(record: Record, name: str, cases: Sequence[TestCase]) -> Iterator[Finding]:
    outputs = defaultdict(set)
    for case in cases:
        outputs[case.input].add(tuple(case.expected.split()))
    contradicted = [given for given, expected in outputs.items() if len(expected) > 1]
    if contradicted:
        message = f"{name} expect different outputs for the input {contradicted[0]!r}"
        yield record.finding("error", "contradiction", message)
    elif len(outputs) < len(cases):
        message = f"{len(cases) - len(outputs)} of the {name} repeat another one"
        yield record.finding("warning", "test-repeats", message)
    if len(cases) > 1 and len({case.expected for case in cases}) == 1:
        message = f"all {name} expect the same output: a program that prints it passes"
        yield record.finding("warning", "constant-output", message)
