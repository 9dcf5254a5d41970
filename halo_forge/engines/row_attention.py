"""Attention for one new position in each of many rows, the same bits whatever the other rows hold.

Registered with transformers as an attention implementation, so that any model that uses the
attention interface decodes with it. The fused CPU kernel behind ``scaled_dot_product_attention``
rounds a row differently when the number of rows changes (seen in bfloat16 and float32 on torch
2.13); plain batched products do not, and a resumed run then gives the samples it would have given.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from halo_forge.core.errors import ModelFault

__all__ = ["ROW_ATTENTION", "SEGMENT_ROWS", "row_attention"]

ROW_ATTENTION = "halo_forge_rows"
"""Name under which the implementation is registered."""

SEGMENT_ROWS = 16
"""Rows that share a window on a CPU; see `halo_forge.engines.row_cache`."""

_UNSUPPORTED = ("softcap", "s_aux", "position_bias")


def row_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend from one position a row; hand whole prompts to the fused kernel.

    Args:
        module: The attention layer.
        query: (rows, heads, positions, head size).
        key: (rows, key heads, window, head size); heads are shared in groups.
        value: As ``key``.
        attention_mask: (rows, 1, 1, window) bool for a decoding step, None for a prompt.
        scaling: Factor of the scores; head size to the power -1/2 when None.
        kwargs: Other arguments of the interface.

    Returns:
        (rows, positions, heads, head size), and None for the weights.

    Raises:
        ModelFault: If the model's attention needs a term that is not computed here.
    """
    extra = [name for name in _UNSUPPORTED if kwargs.get(name) is not None]
    if extra:
        raise ModelFault(f"the decoder does not compute attention with {', '.join(extra)}")
    if attention_mask is None or query.shape[2] != 1:
        kwargs.pop("dropout", None)
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return output, None
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    outputs = [
        _attend(query[rows], key[rows, :, :window], value[rows, :, :window], mask, scale)
        for rows, window, mask in _segments(attention_mask)
    ]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs), None


def _segments(mask: Tensor) -> Iterator[tuple[slice, int, Tensor]]:
    """Yield rows, the window they attend to, and their mask.

    A cache that knows how long its rows are says so by the attribute ``windows`` of the mask: the
    window of each run of `SEGMENT_ROWS` rows.
    """
    windows: tuple[int, ...] = getattr(mask, "windows", (mask.shape[3],))
    start = 0
    for window, run in groupby(windows):
        stop = start + SEGMENT_ROWS * len(list(run)) if len(windows) > 1 else mask.shape[0]
        yield slice(start, stop), window, mask[start:stop, :, :, :window]
        start = stop


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    rows, heads, _, size = query.shape
    groups = key.shape[1]
    grouped = query.reshape(rows, groups, heads // groups, size)
    scores = torch.matmul(grouped, key.transpose(2, 3)).float()
    scores.mul_(scale).masked_fill_(~mask, -torch.inf)
    weights = torch.softmax(scores, dim=-1).to(value.dtype)
    return torch.matmul(weights, value).reshape(rows, 1, heads, size)


ALL_ATTENTION_FUNCTIONS.register(ROW_ATTENTION, row_attention)
# For prompts alone, where it is more than causal: Gemma 3's pictures see themselves as a whole.
ALL_MASK_ATTENTION_FUNCTIONS.register(ROW_ATTENTION, sdpa_mask)
