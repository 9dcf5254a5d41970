"""Checks of a data file, line by line: every finding with its line, memory that does not follow it.

What is kept of a line is its place, a digest and what near-duplicates are found by; the file is
read once more to write what is fit.
"""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from halo_forge.config.data import ValidateConfig
from halo_forge.core.errors import ConfigError, UserError
from halo_forge.core.types import Message
from halo_forge.data.content import chat_content, prompt_content
from halo_forge.data.decontaminate import Benchmarks, Overlap
from halo_forge.data.findings import Finding, Kind, Lengths, Record, Report
from halo_forge.data.gold import Judge, check_gold
from halo_forge.data.near_duplicates import NearDuplicates
from halo_forge.data.pictures import locate
from halo_forge.data.record_checks import code_findings, test_findings
from halo_forge.data.shapes import parse_record, read_records, shape_of, tell_kind
from halo_forge.store.atomic import write_lines
from halo_forge.utils.jsonl import BadLine

__all__ = ["Measure", "Tools", "validate"]

Measure = Callable[[Sequence[tuple[tuple[Message, ...], str | None]]], list[int]]
"""Counts the tokens of chats, or of plain texts beside an empty chat."""

_BATCH = 64
_NOUNS = {"prompts": "prompts", "training": "training records"}


@dataclass(frozen=True)
class Tools:
    """What checks need that lives above this floor, or belongs to the caller.

    Attributes:
        measure: Counts tokens; lengths are not looked at without.
        judge: Judges answers; references are not run without.
        advance: Told how many lines were read.
    """

    measure: Measure | None = None
    judge: Judge | None = None
    advance: Callable[[int], None] | None = None


def validate(
    source: str | Path,
    config: ValidateConfig,
    tools: Tools,
    kind: Kind | None = None,
    write: Path | None = None,
) -> Report:
    """Check a data file.

    Args:
        source: A file of prompts or of training records, or ``builtin:LANGUAGE/SPLIT``.
        config: Thresholds, tokenizer, benchmarks.
        tools: What counts tokens and judges answers.
        kind: What the file holds; told by its first lines when absent.
        write: Where to write the lines without an error, as JSONL, whole or not at all. Those that
            overlap with a benchmark and are to be kept have it noted in their ``metadata``.

    Raises:
        UserError: If a file cannot be read, if the gold check is asked for without prompts, or if
            what is fit cannot be written as JSON without a change.
        VerifierFault: If a reference could not be judged.
        StoreFault: If the disk refuses.
    """
    kind = kind or tell_kind(source)
    if tools.judge is not None and kind != "prompts":
        raise UserError(f"{source}: holds training records, which bring no tests to run")
    with ExitStack() as stack:
        near = stack.enter_context(NearDuplicates(config.near, seed=config.seed))
        check = _Check(source, kind, config, tools, near)
        lines = read_records(source)
        while batch := list(islice(lines, _BATCH)):
            check.look([record for line in batch for record in check.read(*line)])
            if tools.advance is not None:
                tools.advance(len(batch))
        report = check.report()
    if write is not None:
        _write_fit(source, write, report, check.marks)
    return report


class _Check:
    """The checks of one file, and what they remember of its lines."""

    def __init__(
        self,
        source: str | Path,
        kind: Kind,
        config: ValidateConfig,
        tools: Tools,
        near: NearDuplicates,
    ) -> None:
        self._source = str(source)
        self._kind = kind
        self._config = config
        self._tools = tools
        self._near = near
        self._near_lines = array("q")
        settings = config.decontaminate
        self._benchmarks = Benchmarks(settings) if settings.against else None
        self._formats: Counter[str] = Counter()
        self._chats: dict[bytes, int] = {}
        self._ids: dict[str, int] = {}
        self._counts = array("q")
        self._findings: list[Finding] = []
        self.marks: dict[int, list[Overlap]] = {}

    def read(self, line: int, row: dict[str, Any] | BadLine) -> Iterator[Record]:
        """Yield the record of a line, if it has one that no earlier line has."""
        if isinstance(row, BadLine):
            self._findings.append(Finding("error", "unreadable", row.reason, line))
            return
        try:
            record = parse_record(line, row, self._kind)
            if record.prompt is not None:
                locate(record.prompt.images, Path(self._source).parent)
        except ConfigError as error:
            given = row.get("id")
            name = given if isinstance(given, str) else None
            self._findings += [
                Finding("error", "invalid", why, line, name) for why in error.problems
            ]
            return
        self._formats[shape_of(row, self._kind)] += 1
        repeated = self._repeated(record)
        if repeated is not None:
            self._findings.append(repeated)
            return
        yield record

    def look(self, records: Sequence[Record]) -> None:
        """Look at records that were read."""
        for record in records:
            self._near.add(_near_text(record))
            self._near_lines.append(record.line)
            self._findings += code_findings(record)
            if record.prompt is not None:
                self._findings += test_findings(record, record.prompt.reference)
            self._findings += self._overlap(record)
        if self._tools.measure is not None and records:
            self._measure(records, self._tools.measure)
        if self._tools.judge is not None:
            self._findings += check_gold(records, self._tools.judge)

    def report(self) -> Report:
        """Return what was found, near-duplicates last."""
        for at, other, similarity in self._near.pairs():
            message = f"{similarity:.0%} the same as line {self._near_lines[other]}"
            line = self._near_lines[at]
            self._findings.append(Finding("warning", "near-duplicate", message, line))
        if not self._formats and not self._findings:
            self._findings.append(Finding("error", "empty", f"holds no {_NOUNS[self._kind]}"))
        return Report(
            source=self._source,
            kind=self._kind,
            records=len(self._near_lines),
            formats=dict(self._formats.most_common()),
            lengths=Lengths.of(self._config.tokenizer or "", self._counts),
            decontamination=self._decontamination(),
        ).joined(self._findings)

    def _repeated(self, record: Record) -> Finding | None:
        """Return what says that an earlier line says the same, or has the same id."""
        noun = "prompt" if record.prompt is not None else "record"
        chat = _digest(record)
        first = self._chats.setdefault(chat, record.line)
        if first != record.line:
            message = f"the same {noun} as line {first}"
            return record.finding("error", f"repeated-{noun}", message)
        if record.prompt is not None:
            first = self._ids.setdefault(record.prompt.id, record.line)
            if first != record.line:
                message = f"the id {record.prompt.id!r} is taken by line {first}"
                return record.finding("error", "repeated-id", message)
        return None

    def _overlap(self, record: Record) -> Iterator[Finding]:
        if self._benchmarks is None:
            return
        prompt = record.prompt
        content = prompt_content(prompt) if prompt else chat_content(record.messages, record.text)
        overlaps = self._benchmarks.overlaps(content)
        if not overlaps:
            return
        self.marks[record.line] = overlaps
        best, *others = overlaps
        more = f", and {len(others)} more" if others else ""
        what = "the task" if best.kind == "text" else "the solution"
        message = f"holds {best.share:.0%} of {what} {best.item} of {best.source}{more}"
        marked = self._config.decontaminate.action == "mark"
        yield record.finding("warning" if marked else "error", "contaminated", message)

    def _measure(self, records: Sequence[Record], measure: Measure) -> None:
        counts = measure([(record.messages, record.text) for record in records])
        self._counts.extend(counts)
        most = self._config.max_tokens
        for record, count in zip(records, counts, strict=True):
            if most is not None and count > most:
                message = f"{count} tokens, {count - most} more than {most}"
                self._findings.append(record.finding("error", "too-long", message))

    def _decontamination(self) -> dict[str, Any] | None:
        if self._benchmarks is None:
            return None
        return {**self._benchmarks.facts(), "overlapping": len(self.marks)}


def _write_fit(
    source: str | Path, path: Path, report: Report, marks: Mapping[int, Sequence[Overlap]]
) -> None:
    unfit = report.unfit
    write_lines(
        path,
        (
            _written(source, line, row, marks.get(line, ()))
            for line, row in read_records(source, exact=True)
            if line not in unfit
        ),
    )


def _written(
    source: str | Path, line: int, row: dict[str, Any] | BadLine, overlaps: Sequence[Overlap]
) -> bytes:
    """Return the line of a record, which says what the record says and nothing else.

    Raises:
        UserError: If JSON cannot say it.
    """
    if isinstance(row, BadLine):  # fit when whole numbers may become floats
        raise UserError(f"{source}:{line}: cannot be written as it is: {row.reason}")
    marked = _marked(row, overlaps)
    odd = next((name for name, value in marked.items() if not _is_finite(value)), None)
    if odd is not None:
        raise UserError(
            f"{source}:{line}: {odd!r} holds a number that JSON has no word for (NaN or infinite), "
            "so it cannot be written as it is. Leave it out, or put null for it."
        )
    try:
        return orjson.dumps(marked) + b"\n"
    except TypeError:
        pass  # a whole number beyond 64 bits, or what is no JSON
    try:
        return json.dumps(marked, ensure_ascii=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{source}:{line}: cannot be written as JSON: {error}. Leave that column out."
        ) from error


def _is_finite(value: Any) -> bool:
    """Tell whether all floats in a document are numbers; orjson writes null for others."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, float):
            if not math.isfinite(one):
                return False
        elif isinstance(one, list | tuple):
            waiting.extend(one)
        elif isinstance(one, dict):
            waiting.extend(one.values())
    return True


def _digest(record: Record) -> bytes:
    said: Any = [[turn.role, turn.content] for turn in record.messages] or record.text
    if record.row.get("image"):
        said = [said, record.row["image"]]
    return hashlib.blake2b(orjson.dumps(said), digest_size=16).digest()


def _near_text(record: Record) -> str:
    """Return what near-duplicates are told by: what a prompt asks, all that a record says."""
    # The system message sets the manner, not the task; the same question about another picture is
    # another task, so that with pictures only what is equal is near.
    if record.row.get("image"):
        return _digest(record).hex()
    turns = [turn.content for turn in record.messages if turn.role != "system"]
    return record.text if record.text is not None else "\n".join(turns)


def _marked(row: dict[str, Any], overlaps: Sequence[Overlap]) -> dict[str, Any]:
    if not overlaps:
        return row
    notes = row.get("metadata")
    kept = notes if isinstance(notes, dict) else {} if notes is None else {"metadata": notes}
    return {**row, "metadata": {**kept, "contaminated": [asdict(one) for one in overlaps]}}
