"""Whether two answers hold the same program: pure functions of their text."""

from __future__ import annotations

from collections.abc import Iterable

from halo_forge.core.types import Sample, Verdict
from halo_forge.data.code import normal_tokens
from halo_forge.rlvr.verifiers.extract import extract_code

__all__ = ["distinct_programs", "program_key"]


def program_key(sample: Sample) -> tuple[str, ...]:
    """Return what is alike in answers whose programs are alike.

    These are the program's tokens without layout, comments, texts and names
    (`halo_forge.data.code.normal_tokens`), or the words of an answer that holds no program.
    """
    prompt = sample.prompt
    code = extract_code(sample.completion, prompt.language, prompt.reference.entry_point)
    return tuple(normal_tokens(code, prompt.language) or sample.completion.split())


def distinct_programs(verdicts: Iterable[Verdict]) -> int:
    """Return how many programs there are, counted within each prompt."""
    return len({(v.sample.prompt.id, program_key(v.sample)) for v in verdicts})
