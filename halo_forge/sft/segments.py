"""Attention within each of many answers that lie end to end in one row, and never across them.

Registered with transformers as an attention implementation. Packing by a mask over the whole row
computes, and on most devices stores, every pair of positions of different answers only to throw it
away; one causal call an answer computes the same figures from its own pairs alone. Where a varlen
kernel of flash attention is installed, transformers feeds it the same bounds and this is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from halo_forge.core.errors import ModelFault

__all__ = ["SEGMENT_ATTENTION", "segment_attention"]

SEGMENT_ATTENTION = "halo_forge_segments"
"""Name under which the implementation is registered."""

_UNSUPPORTED = ("softcap", "s_aux", "position_bias")


def segment_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    segments: Sequence[int] | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend causally within each segment; ``attention_mask`` is not needed and not read.

    Args:
        module: The attention layer.
        query: (1, heads, positions, head size).
        key: (1, key heads, positions, head size).
        value: As ``key``.
        attention_mask: Part of the interface.
        segments: Length of each answer in the row; the row is one answer when absent.
        sliding_window: Positions a query sees, itself included; all before it when absent.
        kwargs: Other arguments of the interface.

    Returns:
        (1, positions, heads, head size), and None for the weights.

    Raises:
        ModelFault: If the model's attention needs a term that is not computed here.
    """
    del attention_mask
    extra = [name for name in _UNSUPPORTED if kwargs.get(name) is not None]
    if extra:
        raise ModelFault(f"packed answers are not attended to with {', '.join(extra)}")
    lengths = [query.shape[2]] if segments is None else list(segments)
    # split, not slices: the backward of a slice fills a whole row with zeros for each
    queries, keys, values = (torch.split(part, lengths, dim=2) for part in (query, key, value))
    outputs = [
        sdpa_attention_forward(
            module, q, k, v, _band(q.shape[2], sliding_window, q.device), **kwargs
        )[0]
        for q, k, v in zip(queries, keys, values, strict=True)
    ]
    return torch.cat(outputs, dim=1), None


def _band(length: int, window: int | None, device: torch.device) -> Tensor | None:
    """Return the mask of a sliding window, or None where causal attention is the same."""
    if window is None or length <= window:
        return None
    before = torch.arange(length, device=device)
    distance = before[:, None] - before
    return ((distance >= 0) & (distance < window))[None, None]


ALL_ATTENTION_FUNCTIONS.register(SEGMENT_ATTENTION, segment_attention)
