"""Real answers of a model, as a run or a benchmark kept them with their verdicts."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from halo_forge.core.types import Sample
from halo_forge.data.prompts import load_prompts

__all__ = ["Answer", "load", "with_rate"]


@dataclass(frozen=True)
class Answer:
    """An answer and what became of it.

    Attributes:
        sample: The answer with its prompt.
        compiles: It was found to compile.
        reached: It reached the compiler.
    """

    sample: Sample
    compiles: bool
    reached: bool


def load(paths: list[Path], prompts: str) -> list[Answer]:
    """Read the answers in samples files or result folders; the same text to a prompt counts once.

    Args:
        paths: ``samples.jsonl`` of ``benchmark run``, ``cycle_N_verified.jsonl`` of ``raft train``,
            or a folder that holds such files.
        prompts: The prompts that were answered.
    """
    known = {prompt.id: prompt for prompt in load_prompts(prompts)}
    found: dict[tuple[str, str], Answer] = {}
    for path in paths:
        for file in _files(path):
            for row in map(json.loads, file.read_text("utf-8").splitlines()):
                text, stage = row["completion"], (row.get("metadata") or {}).get("stage")
                sample = Sample(known[row["prompt_id"]], len(found), text)
                compiles = (row["reward"] or 0.0) >= 0.5
                answer = Answer(sample, compiles, stage not in {"extract", "substance", None})
                found.setdefault((row["prompt_id"], text), answer)
    return list(found.values())


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted([*path.glob("samples.jsonl"), *path.glob("cycle_*_verified.jsonl")])


def with_rate(answers: list[Answer], rate: float, number: int, seed: int) -> list[Sample]:
    """Return answers that reached the compiler, of which the share ``rate`` compiles.

    At random, by ``seed``; fewer than ``number`` where there are not enough of either kind.
    """
    good = [one.sample for one in answers if one.reached and one.compiles]
    bad = [one.sample for one in answers if one.reached and not one.compiles]
    number = min(number, int(len(good) / rate), int(len(bad) / (1 - rate)))
    chance = random.Random(seed)  # noqa: S311 - a choice, no secret
    many = round(number * rate)
    chosen = chance.sample(good, many) + chance.sample(bad, number - many)
    chance.shuffle(chosen)
    return chosen
