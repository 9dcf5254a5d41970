"""Arithmetic of batches and steps: pure, so that a schedule is known before training starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halo_forge.config.fit import FitSettings
from halo_forge.core.types import TrainingExample

__all__ = [
    "PICTURES",
    "SIGNALS",
    "heaviest_batch",
    "optimizer_steps",
    "signals_of",
    "to_columns",
    "warmup_steps",
]

PICTURES = "pictures"
"""The column that names the pictures of each example."""

SIGNALS = ("weights", "behaviour")
"""Columns beside ids and labels, where an objective reads them: see `signals_of`."""


def optimizer_steps(examples: int, settings: FitSettings, processes: int = 1) -> int:
    """Return the optimiser steps of one training phase over ``examples`` answers.

    Processes take a forward pass each, at the same time.
    """
    batches = math.ceil(math.ceil(examples / settings.batch_size) / processes)
    return math.ceil(batches / settings.gradient_accumulation_steps) * settings.epochs


def warmup_steps(total: int, ratio: float) -> int:
    """Return the steps that warm up: the ratio rounded down.

    Rounding up would spend one of a short cycle's few steps at a learning rate of zero.
    """
    return int(total * ratio)


def heaviest_batch(lengths: Sequence[int], size: int, *, padded: bool) -> list[int]:
    """Return the positions of each answer in the largest forward pass that chance can make.

    Args:
        lengths: Positions of every answer.
        size: Answers in a forward pass.
        padded: Whether the longest answer decides for its whole batch.
    """
    longest = sorted(lengths, reverse=True)[:size]
    return longest[:1] * len(longest) if padded else longest


def to_columns(examples: Sequence[TrainingExample]) -> dict[str, list[Any]]:
    """Return what the trainer reads: token ids as they are, labels that mask the rest, pictures."""
    shown = (
        {PICTURES: [list(e.images) for e in examples]} if any(e.images for e in examples) else {}
    )
    return shown | {
        "input_ids": [np.asarray(e.input_ids, dtype=np.int32) for e in examples],
        "labels": [np.asarray(e.labels, dtype=np.int32) for e in examples],
    }


def signals_of(examples: Sequence[TrainingExample]) -> dict[str, list[NDArray[np.float32]]]:
    """Return the weight of each token's answer, and the log-probability it was sampled with.

    Both have a value for each position; it is 0 where there is no completion, or where the
    log-probabilities of the sampling are not known.
    """
    columns: dict[str, list[NDArray[np.float32]]] = {name: [] for name in SIGNALS}
    for example in examples:
        behaviour = np.zeros(len(example.input_ids), dtype=np.float32)
        behaviour[example.completion_start :][: len(example.logprobs)] = example.logprobs
        columns["weights"].append(np.full_like(behaviour, example.weight))
        columns["behaviour"].append(behaviour)
    return columns
