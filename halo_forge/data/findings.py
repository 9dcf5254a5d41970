"""What the checks of a data file say: findings with their lines, and the report they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from halo_forge.core.types import Message, Prompt

__all__ = ["Finding", "Kind", "Lengths", "Level", "Record", "Report"]

Kind = Literal["prompts", "training"]
Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong (``error``) or suspicious (``warning``) about a data file.

    Attributes:
        rule: Short name of the check that found it.
        line: Where it was found, from 1; ``None`` when it concerns the whole file.
        id: The record's id, when the line has one.
    """

    level: Level
    rule: str
    message: str
    line: int | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A line that could be read.

    Attributes:
        line: Where it stands, from 1.
        row: The object as it was read.
        messages: The chat; empty for a plain text.
        text: The plain text, when it is one.
        prompt: The prompt, in a prompts file.
    """

    line: int
    row: Mapping[str, Any]
    messages: tuple[Message, ...]
    text: str | None = None
    prompt: Prompt | None = None

    @property
    def id(self) -> str | None:
        """The name by which people find the record in other tools."""
        if self.prompt is not None:
            return self.prompt.id
        given = self.row.get("id")
        return given if isinstance(given, str) else None

    def finding(self, level: Level, rule: str, message: str) -> Finding:
        """Return a finding about this record."""
        return Finding(level, rule, message, self.line, self.id)


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long the records are, in tokens of ``tokenizer``."""

    tokenizer: str
    least: int
    median: float
    p95: float
    most: int
    total: int

    @classmethod
    def of(cls, tokenizer: str, counts: Iterable[int]) -> Lengths | None:
        """Return what the counts come to; ``None`` without any."""
        numbers = np.fromiter(counts, dtype=np.int64)
        if not numbers.size:
            return None
        median, p95 = (float(np.percentile(numbers, q)) for q in (50, 95))
        return cls(
            tokenizer, int(numbers.min()), median, p95, int(numbers.max()), int(numbers.sum())
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What a data file holds, and the findings by line.

    Attributes:
        formats: How many records have which form, the most common first.
        decontamination: What the records were compared with, and how many overlap.
    """

    source: str
    kind: Kind
    records: int
    formats: Mapping[str, int] = field(default_factory=dict)
    lengths: Lengths | None = None
    decontamination: Mapping[str, Any] | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> int:
        """Number of findings that make the file unfit."""
        return sum(finding.level == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """Number of findings to look at."""
        return len(self.findings) - self.errors

    @property
    def unfit(self) -> frozenset[int]:
        """Lines with an error."""
        errors = (one.line for one in self.findings if one.level == "error")
        return frozenset(line for line in errors if line is not None)

    def joined(self, further: Iterable[Finding]) -> Report:
        """Return the report with further findings, again by line."""
        findings = sorted((*self.findings, *further), key=lambda finding: finding.line or 0)
        return dataclasses.replace(self, findings=tuple(findings))
