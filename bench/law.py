"""Do tokens follow the law they are said to be drawn from? One exact test for any generator.

Under the law each token's place in the cumulative distribution, randomised within its own interval,
is uniform, whatever came before it (Smith 1985, "Diagnostic checks of non-standard time series
models", on Rosenblatt's transform; randomised as by Czado, Gneiting and Held 2009). Tokens are laid
out by falling probability, so that a wrong temperature or truncation shifts the places.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from halo_forge.engines.sampling import Law

__all__ = ["places", "same_law", "uniform"]


def places(
    model: Any, answers: Iterable[tuple[Sequence[int], Sequence[int]]], law: Law, seed: int
) -> list[float]:
    """Return a number in [0, 1] for each token, uniform if the tokens follow ``law``.

    Args:
        model: A causal language model, run over prompt and answer as a whole.
        answers: Tokens of prompts and of their answers.
        law: What they are said to be drawn from, as the processors of transformers compute it.
        seed: Of the numbers that randomise within an interval.
    """
    warpers = LogitsProcessorList([TemperatureLogitsWarper(law.temperature)])
    if law.top_k:
        warpers.append(TopKLogitsWarper(law.top_k))
    if law.top_p < 1:
        warpers.append(TopPLogitsWarper(law.top_p))
    random = np.random.default_rng(seed)
    found: list[float] = []
    for prompt, answer in answers:
        with torch.inference_mode():
            ids = torch.tensor([[*prompt, *answer]], device=model.device)
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
            chances = torch.softmax(warpers(None, logits), dim=-1)
            own = chances.gather(1, ids[0, len(prompt) :, None])
            above = (chances * (chances > own)).sum(dim=-1).tolist()
        shares = random.random(len(answer)) * np.array(own[:, 0].tolist())
        found += (np.array(above) + shares).tolist()
    return found


def uniform(numbers: Sequence[float]) -> float:
    """Return the p-value of Kolmogorov and Smirnov's test that ``numbers`` are uniform."""
    ranked, count = np.sort(np.array(numbers)), len(numbers)
    distance = max(
        float((np.arange(1, count + 1) / count - ranked).max()),
        float((ranked - np.arange(count) / count).max()),
    )
    return _kolmogorov(distance, count)


def same_law(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the p-value of the same test that two series have one distribution."""
    left, right = np.sort(np.array(one)), np.sort(np.array(other))
    both = np.concatenate([left, right])
    gap = np.searchsorted(left, both, "right") / len(left) - np.searchsorted(
        right, both, "right"
    ) / len(right)
    return _kolmogorov(float(abs(gap).max()), len(left) * len(right) / (len(left) + len(right)))


def _kolmogorov(distance: float, count: float) -> float:
    """Return the tail of Kolmogorov's distribution, with Stephens's correction for few numbers."""
    scaled = (math.sqrt(count) + 0.12 + 0.11 / math.sqrt(count)) * distance
    if scaled < 0.2:
        return 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101))
    return min(1.0, max(0.0, sum(terms)))
