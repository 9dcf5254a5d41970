"""A key-value cache of independent rows, written in place.

Each row holds one sample at its own length; a row is filled from a prefilled prompt, grows by
one position a step, and is handed to the next sample when this one ends. The tensors are
allocated once, so a step copies one position a row and nothing else.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

from halo_forge.utils.typing import override

__all__ = ["WINDOW_STEP", "RowCache"]

WINDOW_STEP = 64
"""The attended window grows in these steps, so that shapes repeat and results do not depend on
the exact length of the longest neighbour."""


class _RowLayer(CacheLayerMixin):
    """One layer's keys and values, (rows, heads, positions, head size)."""

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, cache: RowCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cache = cache

    @override
    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate for every row; the memory is touched only where it is written."""
        self.keys = self._allocate(key_states)
        self.values = self._allocate(value_states)
        self.is_initialized = True

    @override
    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Write one position a row and return the window that may be attended."""
        active, window = key_states.shape[0], self._cache.window
        rows, positions = self._cache.row_index[:active], self._cache.lengths[:active]
        self.keys[rows, :, positions] = key_states[:, :, 0]
        self.values[rows, :, positions] = value_states[:, :, 0]
        return self.keys[:active, :, :window], self.values[:active, :, :window]

    @override
    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the window and no offset; the mask itself comes from the decoder."""
        return self._cache.window, 0

    @override
    def get_seq_length(self) -> int:
        """Return the longest row."""
        return int(self._cache.lengths.max())

    @override
    def get_max_length(self) -> int:
        """Return the positions a row can hold."""
        return self._cache.length

    def load(self, row: int, keys: Tensor, values: Tensor) -> None:
        """Copy a prefilled prompt, (1, heads, positions, head size) each, into ``row``."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        positions = keys.shape[2]
        self.keys[row, :, :positions] = keys[0]
        self.values[row, :, :positions] = values[0]

    def move(self, source: int, target: int) -> None:
        """Copy one row over another."""
        self.keys[target] = self.keys[source]
        self.values[target] = self.values[source]

    def _allocate(self, states: Tensor) -> Tensor:
        # masked positions are multiplied by a probability of zero, so they must be finite
        shape = (self._cache.rows, states.shape[1], self._cache.length, states.shape[3])
        return torch.zeros(shape, dtype=states.dtype, device=states.device)


class RowCache(Cache):
    """The cache of a batch of rows, as a transformers model expects one.

    Args:
        layers: Layers of the model.
        rows: Samples decoded together.
        length: Positions a row can hold, prompt included.
        device: Where the tensors live.
    """

    def __init__(self, layers: int, rows: int, length: int, device: torch.device) -> None:
        self.rows = rows
        self.length = -(-length // WINDOW_STEP) * WINDOW_STEP
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        self.row_index = torch.arange(rows, device=device)
        self.window = WINDOW_STEP
        self._rows = [_RowLayer(self) for _ in range(layers)]
        super().__init__(layers=list(self._rows))

    def prepare(self, active: int) -> Tensor:
        """Fix the window for the next step and return its mask.

        Returns:
            (active, 1, 1, window) bool, true where a row may look: its own past and the position
            that this step writes.
        """
        longest = int(self.lengths[:active].max()) + 1
        self.window = -(-longest // WINDOW_STEP) * WINDOW_STEP
        positions = torch.arange(self.window, device=self.lengths.device)
        return (positions <= self.lengths[:active, None])[:, None, None, :]

    def load(self, row: int, prefix: DynamicCache, length: int) -> None:
        """Start a row from a prefilled prompt of ``length`` tokens."""
        for target, source in zip(self._rows, prefix.layers, strict=True):
            assert isinstance(source, DynamicLayer)
            assert source.keys is not None
            assert source.values is not None
            target.load(row, source.keys, source.values)
        self.lengths[row] = length

    def release(self, row: int) -> None:
        """Forget a row; until it is loaded again it computes on one position of its own."""
        self.lengths[row] = 0

    def move(self, source: int, target: int) -> None:
        """Copy row ``source`` to ``target`` and release ``source``."""
        for layer in self._rows:
            layer.move(source, target)
        self.lengths[target] = self.lengths[source]
        self.release(source)
