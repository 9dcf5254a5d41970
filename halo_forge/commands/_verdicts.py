"""Verdicts and audits as people and scripts read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click

from halo_forge.commands._output import echo_grid
from halo_forge.core.types import Verdict, VerifyResult
from halo_forge.report.grid import Grid
from halo_forge.rlvr.verifiers.audit import Audit, Specimen, TestAudit
from halo_forge.rlvr.verifiers.languages import find_language
from halo_forge.utils.text import printable

__all__ = [
    "audit_document",
    "show_audit",
    "show_many",
    "show_one",
    "show_tests",
    "tests_document",
    "verdict_document",
]

_AROUND = 2
_WIDTH = 120
_PLACE = re.compile(r"\bmain\.\w+(?:\(|:)(\d+)\b")


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict for scripts."""
    result = verdict.result
    if result is None:
        return {"id": verdict.sample.id, "fault": verdict.fault}
    return {
        "id": verdict.sample.id,
        "success": result.success,
        "reward": result.reward,
        "details": result.details,
        "error": result.error,
        "metadata": dict(result.metadata),
    }


def show_one(verdict: Verdict, program: str) -> None:
    """Print what a person asks about one verdict, and the place of its first diagnostic."""
    result = verdict.result
    if result is None:
        return
    word = "passed" if result.success else "failed"
    click.echo(f"{word}, reward {result.reward:g}: {printable(result.details)}")
    for name, text in _facts(result, program):
        click.echo(f"{name + ':':<11}{printable(text)}")
    if result.error and result.error not in result.details:
        click.echo("\n" + "\n".join(f"  {line}" for line in printable(result.error).splitlines()))
    excerpt = _excerpt(result.error or "", program)
    if excerpt:
        click.echo("\n" + printable(excerpt))


def _facts(result: VerifyResult, program: str) -> list[tuple[str, str]]:
    """Return what a person asks next about a verdict: name and value."""
    data = result.metadata
    size = len(program.splitlines())
    language = find_language(str(data.get("language", "")))
    facts = [
        ("program", f"{size} line{'s' * (size != 1)} of {language.label}" if language else None),
        ("stage", data.get("stage")),
        ("toolchain", data.get("toolchain")),
    ]
    if "tests_total" in data:
        facts.append(("tests", f"{data['tests_passed']} of {data['tests_total']} passed"))
    if "limits" in data:
        facts.append(("limits", ", ".join(data["limits"]).replace("_", " ") or "none hit"))
    facts += [
        ("not run", data.get("not_run")),
        ("sandbox", data.get("backend")),
        ("integrity", data.get("integrity")),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _excerpt(error: str, program: str) -> str:
    """Return the lines of a program around the one that a diagnostic names."""
    named = _PLACE.search(error)
    lines = program.splitlines()
    if named is None or not 1 <= int(named[1]) <= len(lines):
        return ""
    at = int(named[1])
    first, last = max(1, at - _AROUND), min(len(lines), at + _AROUND)
    return "\n".join(
        f"{'>' if n == at else ' '} {n:>{len(str(last))}} | {lines[n - 1][:_WIDTH]}"
        for n in range(first, last + 1)
    )


def show_many(verdicts: Sequence[Verdict]) -> None:
    """Print one row for each verdict."""
    rows = []
    for verdict in verdicts:
        result = verdict.result
        if result is None:
            rows.append((verdict.sample.id, "fault", "", verdict.fault or ""))
            continue
        stage = str(result.metadata.get("stage", ""))
        rows.append((verdict.sample.id, f"{result.reward:g}", stage, result.details))
    echo_grid(Grid(("sample", "reward", "stage", "details"), tuple(rows), wide=True))


def tests_document(one: TestAudit) -> dict[str, Any]:
    """Return for scripts what the tests of a prompt are worth."""
    return {
        "id": one.prompt.id,
        "reference_fails": one.failure,
        "flaky": one.flaky,
        "changes": one.changes,
        "survivors": [{"line": each.line, "change": each.change} for each in one.survivors],
    }


def show_tests(one: TestAudit) -> None:
    """Print what the tests of a prompt are worth, if something is amiss."""
    name = printable(one.prompt.id)
    if one.flaky:
        click.echo(f"{name}: flaky, the same solution was judged differently")
    if one.failure is not None:
        click.echo(f"{name}: the reference solution fails: {printable(one.failure)}")
    elif one.survivors:
        told = "; ".join(f"line {each.line}: {each.change}" for each in one.survivors)
        click.echo(f"{name}: weak, {len(one.survivors)} of {one.changes} changes pass: {told}")


def audit_document(found: Audit) -> dict[str, Any]:
    """Return for scripts what an audit found."""
    return {
        "judged": found.judged,
        "skipped": dict(found.skipped),
        "false_accepts": [_finding(*pair) for pair in found.false_accepts],
        "false_rejects": [_finding(*pair) for pair in found.false_rejects],
    }


def _finding(specimen: Specimen, verdict: Verdict) -> dict[str, Any]:
    answer = verdict.sample.completion
    return {
        "task": specimen.task,
        "name": specimen.name,
        "answer": answer,
        **verdict_document(verdict),
    }


def show_audit(found: Audit, *, quiet: bool) -> None:
    """Print what an audit found; its summary too, unless ``quiet``."""
    for title, pairs in (
        ("false accept", found.false_accepts),
        ("false reject", found.false_rejects),
    ):
        for specimen, verdict in pairs:
            result = verdict.result
            said = (
                verdict.fault if result is None else f"reward {result.reward:g}, {result.details}"
            )
            click.echo(f"{title}: {specimen.task}, {specimen.name}: {printable(str(said))}")
            lines = printable(verdict.sample.completion).rstrip().splitlines()
            click.echo("\n".join(f"    {line}" for line in lines) + "\n")
    if not quiet:
        for task, why in found.skipped.items():
            click.echo(f"skipped: {task}: {printable(why)}")
        click.echo(
            f"{found.judged} answers judged: {len(found.false_accepts)} false accepts, "
            f"{len(found.false_rejects)} false rejects"
        )
