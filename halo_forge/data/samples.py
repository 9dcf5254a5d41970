"""Answers that are there already: a samples file, or one source file, becomes samples to judge."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from halo_forge.core.errors import ConfigError, UserError
from halo_forge.core.types import Message, Prompt, Reference, Sample
from halo_forge.data.formats import parse_prompt
from halo_forge.data.pictures import locate
from halo_forge.utils.jsonl import BadLine, read_jsonl
from halo_forge.utils.text import fenced, language_name

__all__ = ["load_samples", "source_sample"]

_SHOWN = 20
_LARGEST = 64 << 20
"""Characters of a source file: more than any program, and an end to what has none."""


def load_samples(path: Path) -> list[Sample]:
    """Read a samples file: on each line a prompt's fields and ``completion``.

    Lines with the same prompt are its answers, numbered from 0.

    Raises:
        ConfigError: With every bad line as ``file:line: reason`` (the first 20).
        UserError: If the file cannot be read or holds no sample.
    """
    samples: list[Sample] = []
    problems: list[str] = []
    seen: Counter[str] = Counter()
    for line, record in _records(path):
        try:
            prompt, completion = _parsed(record)
            prompt = dataclasses.replace(prompt, images=locate(prompt.images, path.parent))
        except ConfigError as error:
            problems += [f"{path}:{line}: {problem}" for problem in error.problems]
            continue
        samples.append(Sample(prompt, seen[prompt.id], completion))
        seen[prompt.id] += 1
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise ConfigError(problems[:_SHOWN] + more)
    if not samples:
        raise UserError(f"{path}: holds no samples; a line is a prompt's fields and 'completion'")
    return samples


def source_sample(path: Path, language: str | None, reference: Reference) -> Sample:
    """Return the program in a source file as an answer.

    Args:
        path: The file; its ending tells the language.
        language: The language, when the ending does not tell.
        reference: What the program is judged by.

    Raises:
        UserError: If the file cannot be read, or does not end.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            code = file.read(_LARGEST + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if len(code) > _LARGEST:
        raise UserError(
            f"{path}: is no source file: it has more than {_LARGEST >> 20} Mi characters"
        )
    known = language_name(language or path.suffix.removeprefix("."))
    # What the task was is not known; the file's name would only be taken for it.
    prompt = Prompt(path.name, (Message("user", "Write the program."),), reference, known)
    return Sample(prompt, 0, fenced(code, known or ""))


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadLine]]:
    try:
        yield from read_jsonl(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _parsed(record: dict[str, Any] | BadLine) -> tuple[Prompt, str]:
    if isinstance(record, BadLine):
        raise ConfigError([record.reason])
    fields = dict(record)
    completion = fields.pop("completion", None)
    if not isinstance(completion, str):
        raise ConfigError(["'completion' is missing" if completion is None else "'completion' "
                           "must be a string"])  # fmt: skip
    return parse_prompt(fields), completion
