"""Drawing tokens: pure functions of logits, a law and one uniform number a row.

Nothing here sorts a vocabulary. The whole distribution is inverted in two steps, over sums of
blocks and then within one block; top-k and top-p look at the leading tokens only, and at more of
them for those rows whose nucleus turns out to be wider.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Law", "draw", "penalise", "uniforms"]

_BLOCK = 256
_LEADING = 64
_GROWTH = 8


@dataclass(frozen=True, slots=True)
class Law:
    """What is drawn from, in the order and with the meaning that `transformers` gives it.

    Attributes:
        temperature: Divides the logits; 0 takes the most likely token.
        top_k: Only tokens at least as likely as the k-th are drawn; 0 lets all through.
        top_p: Only the fewest most likely tokens that together reach this probability are drawn
            (nucleus sampling, Holtzman et al. 2020, arXiv:1904.09751), of equals the lower ids.
        min_p: Only tokens at least this share as likely as the most likely one are drawn (Nguyen
            et al. 2024, arXiv:2407.01082).
    """

    temperature: float
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


def uniforms(seed: int, count: int) -> list[float]:
    """Return ``count`` numbers in [0, 1) that depend on ``seed`` alone.

    Philox is counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"):
    a sample's stream is its own, so it does not depend on what else is in the batch.
    """
    generator = np.random.Generator(np.random.Philox(key=seed))
    return [float(x) for x in generator.random(count, dtype=np.float32)]


def penalise(logits: Tensor, history: Tensor, penalty: float) -> Tensor:
    """Make tokens that were seen less likely (Keskar et al. 2019, arXiv:1909.05858, eq. 2).

    Args:
        logits: (rows, vocabulary).
        history: (rows, any length) int64 ids of the tokens of each row, in any order, repeats
            allowed.
        penalty: Divides positive logits of these tokens and multiplies negative ones.

    Returns:
        New logits, as `transformers` computes them.
    """
    seen = logits.gather(1, history)
    return logits.scatter(1, history, torch.where(seen < 0, seen * penalty, seen / penalty))


def draw(logits: Tensor, law: Law, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Draw one token a row by inverting the cumulative distribution.

    Args:
        logits: (rows, vocabulary), any float type; computed in float32.
        law: What is drawn from.
        uniform: (rows,) float32 numbers in [0, 1); not used when the temperature is 0.

    Returns:
        Token ids (rows,) int64, and their log-probabilities (rows,) float32 under the
        distribution drawn from: after temperature and truncation, or the untempered whole one
        when the temperature is 0. A row whose logits hold a NaN or an infinity that leaves no
        distribution has a log-probability that is not finite.
    """
    if law.temperature == 0:
        logprobs, tokens = torch.log_softmax(logits.float(), dim=-1).max(dim=-1)
        return tokens, logprobs
    scaled = logits.float() / law.temperature
    if law.top_k or law.top_p < 1:
        return _draw_leading(scaled, law, uniform)
    if law.min_p > 0:
        scaled.masked_fill_(scaled < _least(scaled.amax(dim=-1, keepdim=True), law), -torch.inf)
    return _draw_any(scaled, uniform)


def _least(most: Tensor, law: Law) -> Tensor:
    """Return the logit below which `min_p` lets nothing through."""
    return most + math.log(law.min_p) if law.min_p > 0 else torch.full_like(most, -torch.inf)


def _draw_any(logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Draw from the whole distribution."""
    rows, size = logits.shape
    probabilities = torch.softmax(logits, dim=-1)
    whole = size - size % _BLOCK
    sums = probabilities[:, :whole].view(rows, whole // _BLOCK, _BLOCK).sum(dim=-1)
    rest = probabilities[:, whole:]
    if whole < size:
        sums = torch.cat([sums, rest.sum(dim=-1, keepdim=True)], dim=1)
    cumulative = _wide(sums).cumsum(dim=-1)
    target = _wide(uniform).unsqueeze(1) * cumulative[:, -1:]
    block = _invert(cumulative, target)
    target = target - (cumulative - sums).gather(1, block)
    # the last block may be shorter: what is read beyond the vocabulary counts as nothing
    index = block * _BLOCK + torch.arange(_BLOCK, device=logits.device)
    inside = index < size
    within = probabilities.gather(1, index.clamp(max=size - 1)).mul_(inside)
    position = _invert(_wide(within).cumsum(dim=-1), target)
    token = index.gather(1, position).clamp_(max=size - 1)
    return token.squeeze(1), probabilities.gather(1, token).squeeze(1).log()


def _invert(cumulative: Tensor, target: Tensor) -> Tensor:
    """Return the first interval that reaches beyond ``target``, never one of length zero.

    Args:
        cumulative: (rows, intervals) ends, ascending.
        target: (rows, 1) in [0, last end), or beyond it by rounding.
    """
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())
    found = torch.searchsorted(cumulative, target, right=True)
    # last is the end itself only where no number can be compared
    return torch.minimum(found, last).clamp_(max=cumulative.shape[1] - 1)


def _draw_leading(logits: Tensor, law: Law, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Draw from the leading tokens, from more of them where the law reaches further."""
    size = logits.shape[1]
    count = min(size, max(_LEADING, 2 * law.top_k))
    token, logprob, settled = _draw_among(logits, law, uniform, count)
    while count < size and not bool(settled.all()):
        count = min(size, count * _GROWTH)
        open_rows = torch.nonzero(~settled).squeeze(1)
        token[open_rows], logprob[open_rows], settled[open_rows] = _draw_among(
            logits[open_rows], law, uniform[open_rows], count
        )
    return token, logprob


def _draw_among(
    logits: Tensor, law: Law, uniform: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw from the ``count`` leading tokens.

    Returns:
        Tokens, log-probabilities, and (rows,) bool: whether the law needs no token beyond these.
    """
    values, ids = _leading(logits, count)
    most, least = values[:, :1], values[:, -1:]
    weights = _wide(torch.exp(values - most))
    eligible = torch.ones_like(values, dtype=torch.bool)
    total = _wide(torch.exp(torch.logsumexp(logits, dim=-1, keepdim=True) - most))
    if law.top_k:
        eligible = values >= values[:, min(law.top_k, count) - 1, None]
        total = (weights * eligible).sum(dim=-1, keepdim=True)
    keep = eligible & (values >= _least(most, law))
    if law.top_p < 1:
        keep &= weights.cumsum(dim=-1) - weights < law.top_p * total
    # equals of the least value may stand outside, so only what is above it is settled
    settled = ~((eligible if law.top_k else keep) & (values <= least)).any(dim=-1)
    cumulative = (weights * keep).cumsum(dim=-1)
    place = _invert(cumulative, _wide(uniform).unsqueeze(1) * cumulative[:, -1:])
    logprob = _wide(values.gather(1, place) - most) - cumulative[:, -1:].log()
    return ids.gather(1, place).squeeze(1), logprob.squeeze(1).float(), settled


def _leading(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` largest values, descending, and their ids, ascending among equals.

    Which of the tokens that equal the last value are among them is open.
    """
    rows, size = logits.shape
    index = None
    blocks = size // _LEADING
    if count * 4 <= blocks:  # the largest lie in the blocks with the largest maxima
        whole = blocks * _LEADING
        maxima = logits[:, :whole].view(rows, blocks, _LEADING).amax(dim=-1)
        chosen = maxima.topk(count, sorted=False).indices.unsqueeze(2) * _LEADING
        index = (chosen + torch.arange(_LEADING, device=logits.device)).view(rows, -1)
        rest = torch.arange(whole, size, device=logits.device).expand(rows, -1)
        index = torch.cat([index, rest], dim=1)
        logits = logits.gather(1, index)
    values, ids = logits.topk(count, sorted=False)
    if index is not None:
        ids = index.gather(1, ids)
    ids, order = ids.sort(dim=-1)
    values, order = values.gather(1, order).sort(dim=-1, descending=True, stable=True)
    return values, ids.gather(1, order)


def _wide(numbers: Tensor) -> Tensor:
    """Return the numbers in float64, where the device has it."""
    return numbers if numbers.device.type == "mps" else numbers.double()
