"""The least work that answers need: what the benches hold against the roofline."""

from __future__ import annotations

from collections.abc import Sequence

from halo_forge.models.roofline import Shape, Work, decode_work, prefill_work

__all__ = ["Answer", "answers_work"]

Answer = tuple[tuple[int, ...], tuple[int, ...]]
"""The tokens of a prompt, and those of an answer to it."""


def answers_work(shape: Shape, answers: Sequence[Answer], rows: int, size: int) -> Work:
    """Return the work of decoding answers, every prompt read once.

    Args:
        shape: The model.
        answers: What was decoded.
        rows: Answers decoded together, at most.
        size: Bytes of a number.
    """
    tokens = sum(len(answer) for _, answer in answers)
    seen = sum(len(a) * len(p) + len(a) * (len(a) - 1) // 2 for p, a in answers)
    work = decode_work(shape, tokens, seen, tokens / min(rows, len(answers)), size)
    for prompt in {prompt for prompt, _ in answers}:
        work += prefill_work(shape, len(prompt), size)
    return work
