"""Drawing tokens: pure functions of logits, a temperature and one uniform number a row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["draw", "uniforms"]


def uniforms(seed: int, count: int) -> list[float]:
    """Return ``count`` numbers in [0, 1) that depend on ``seed`` alone.

    Philox is counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"):
    a sample's stream is its own, so it does not depend on what else is in the batch.
    """
    generator = np.random.Generator(np.random.Philox(key=seed))
    return [float(x) for x in generator.random(count, dtype=np.float32)]


def draw(logits: Tensor, temperature: float, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Draw one token a row by inverting the cumulative distribution.

    Args:
        logits: (rows, vocabulary), any float type; computed in float32.
        temperature: Divides the logits; 0 takes the most likely token.
        uniform: (rows,) numbers in [0, 1); not used when ``temperature`` is 0.

    Returns:
        Token ids (rows,) int64, and their log-probabilities (rows,) float32 under the
        distribution drawn from: after the temperature, or the untempered one when it is 0.
    """
    scaled = logits.float() / temperature if temperature > 0 else logits.float()
    logprobs = torch.log_softmax(scaled, dim=-1)
    if temperature > 0:
        cumulative = torch.cumsum(logprobs.exp(), dim=-1)
        target = uniform.unsqueeze(1) * cumulative[:, -1:]
        # right=True skips tokens of probability zero: a draw never lands on an empty interval
        tokens = torch.searchsorted(cumulative, target, right=True).squeeze(1)
        tokens = tokens.clamp_(max=logits.shape[1] - 1)
    else:
        tokens = logprobs.argmax(dim=-1)
    return tokens, logprobs.gather(1, tokens.unsqueeze(1)).squeeze(1)
