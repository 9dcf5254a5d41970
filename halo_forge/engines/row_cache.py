"""A key-value cache of independent rows, written in place.

Each row holds one sample at its own length; a row is filled from a prefilled prompt, grows by
one position a step, and is handed to the next sample when this one ends. The tensors are
allocated once, so a step copies one position a row and nothing else. Keys lie with their
positions last, as the product with the query reads them fastest.

What a step reads grows with the window its rows attend to. On a CPU rows are therefore kept in the
order of their lengths, so that each few of them have a window of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

from halo_forge.engines.row_attention import SEGMENT_ROWS
from halo_forge.utils.typing import override

__all__ = ["WINDOW_STEP", "RowCache", "position_bytes", "whole_windows"]

WINDOW_STEP = 64
"""The attended window grows in these steps, so that shapes repeat and results do not depend on
the exact length of the longest neighbour."""

_WORTH_SORTING = 1 / 16
"""Share of the positions read in a step that sorting must save: it copies each position twice, and
is thought over every `WINDOW_STEP` steps."""


class _RowLayer(CacheLayerMixin):
    """One layer: keys (rows, heads, head size, positions), values (.., positions, head size)."""

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, cache: RowCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cache = cache

    @override
    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate for every row; the memory is touched only as far as windows reach."""
        heads, size, length = key_states.shape[1], key_states.shape[3], self._cache.length
        self.keys = key_states.new_empty(self._cache.rows, heads, size, length)
        self.values = value_states.new_empty(self._cache.rows, heads, length, value_states.shape[3])
        self._open = 0
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
        self._reach(window)
        rows, positions = self._cache.row_index[:active], self._cache.lengths[:active]
        self.keys[rows, :, :, positions] = key_states[:, :, 0]
        self.values[rows, :, positions] = value_states[:, :, 0]
        keys = self.keys[:active, :, :, :window].transpose(2, 3)
        return keys, self.values[:active, :, :window]

    @override
    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the window and no offset; the mask itself comes from the decoder."""
        return self._cache.window, 0

    @override
    def get_seq_length(self) -> int:
        """Return the longest row."""
        return max(self._cache.ends)

    @override
    def get_max_length(self) -> int:
        """Return the positions a row can hold."""
        return self._cache.length

    def load(self, row: int, keys: Tensor, values: Tensor) -> None:
        """Copy a prefilled prompt, (1, heads, positions, head size) each, into ``row``."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        positions = keys.shape[2]
        self._reach(whole_windows(positions))
        self.keys[row, :, :, :positions] = keys[0].transpose(1, 2)
        self.values[row, :, :positions] = values[0]

    def copy(self, sources: Tensor, targets: Tensor, window: int) -> None:
        """Copy rows over others, as far as ``window``."""
        self.keys[targets, :, :, :window] = self.keys[sources, :, :, :window]
        self.values[targets, :, :window] = self.values[sources, :, :window]

    def _reach(self, window: int) -> None:
        """Clear what no window reached before: it is multiplied by zero, so it must be finite."""
        if window > self._open:
            self.keys[:, :, :, self._open : window] = 0
            self.values[:, :, self._open : window] = 0
            self._open = window


class RowCache(Cache):
    """The cache of a batch of rows, as a transformers model expects one.

    Args:
        layers: Layers of the model.
        rows: Samples decoded together.
        length: Positions a row can hold, prompt included.
        device: Where the tensors live.

    Attributes:
        lengths: (rows,) positions in use, on the device.
        ends: The same on the host, so that a step does not wait for the device.
        shifts: (rows,) place of a row's next token less its length; see `Prefix.shift` of
            `halo_forge.engines.batch`.
    """

    def __init__(self, layers: int, rows: int, length: int, device: torch.device) -> None:
        self.rows = rows
        self.length = whole_windows(length)
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        self.ends = [0] * rows
        self.shifts = torch.zeros(rows, dtype=torch.long, device=device)
        self.row_index = torch.arange(rows, device=device)
        self.window = WINDOW_STEP
        self._segmented = device.type == "cpu"
        self._rows = [_RowLayer(self) for _ in range(layers)]
        super().__init__(layers=list(self._rows))

    def prepare(self, active: int) -> Tensor:
        """Fix the window for the next step and return its mask.

        Returns:
            (active, 1, 1, window) bool, true where a row may look: its own past and the position
            that this step writes.
        """
        windows = self._windows(self.ends[:active])
        self.window = max(windows)
        positions = torch.arange(self.window, device=self.lengths.device)
        mask = (positions <= self.lengths[:active, None])[:, None, None, :]
        if self._segmented:
            mask.windows = windows  # type: ignore[attr-defined]
        return mask

    def advance(self, active: int) -> None:
        """Count the position that a step has written."""
        self.lengths[:active] += 1
        for row in range(active):
            self.ends[row] += 1

    def load(self, row: int, prefix: DynamicCache, length: int, shift: int = 0) -> None:
        """Start a row from a prefilled prompt of ``length`` tokens."""
        for target, source in zip(self._rows, prefix.layers, strict=True):
            assert isinstance(source, DynamicLayer)
            assert source.keys is not None
            assert source.values is not None
            target.load(row, source.keys, source.values)
        self._set(row, length)
        self.shifts[row] = shift

    def release(self, row: int) -> None:
        """Forget a row; until it is loaded again it computes on one position of its own."""
        self._set(row, 0)

    def move(self, source: int, target: int) -> None:
        """Copy row ``source`` to ``target`` and release ``source``."""
        self._copy([source], [target])
        self._set(target, self.ends[source])
        self.release(source)

    def better_order(self, active: int) -> list[int] | None:
        """Return the first ``active`` rows, longest first, or None where sorting does not pay."""
        if not self._segmented:
            return None
        ends = self.ends[:active]
        order = sorted(range(active), key=lambda row: -ends[row])
        saved = sum(self._windows(ends)) - sum(self._windows([ends[row] for row in order]))
        return order if saved * SEGMENT_ROWS > sum(ends) * _WORTH_SORTING else None

    def reorder(self, order: Sequence[int]) -> None:
        """Put row ``order[i]`` in place ``i``."""
        moved = [(old, new) for new, old in enumerate(order) if old != new]
        ends = [self.ends[old] for old, _ in moved]
        self._copy([old for old, _ in moved], [new for _, new in moved])
        for (_, new), end in zip(moved, ends, strict=True):
            self._set(new, end)

    def _copy(self, sources: list[int], targets: list[int]) -> None:
        window = whole_windows(max(self.ends[row] for row in sources))
        at = self.lengths.device
        index = torch.tensor(sources, device=at), torch.tensor(targets, device=at)
        self.shifts[index[1]] = self.shifts[index[0]]
        for layer in self._rows:
            layer.copy(*index, window)

    def _windows(self, ends: Sequence[int]) -> tuple[int, ...]:
        """Return the window of each run of `SEGMENT_ROWS` rows, or of all of them at once."""
        size = SEGMENT_ROWS if self._segmented else len(ends)
        return tuple(whole_windows(max(ends[i : i + size]) + 1) for i in range(0, len(ends), size))

    def _set(self, row: int, length: int) -> None:
        self.lengths[row] = self.ends[row] = length


def whole_windows(positions: int) -> int:
    """Return the positions that are kept or read for so many."""
    return -(-positions // WINDOW_STEP) * WINDOW_STEP


@torch.inference_mode()
def position_bytes(model: Any) -> int:
    """Return the bytes that keys and values of one position take, told by the model itself.

    Args:
        model: A causal language model; of one without values the answer is the same.
    """
    cache = DynamicCache(config=model.config)
    token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
    model(input_ids=token, past_key_values=cache, use_cache=True, logits_to_keep=1)
    layers = [layer for layer in cache.layers if isinstance(layer, DynamicLayer)]
    parts = (part for layer in layers for part in (layer.keys, layer.values))
    return sum(part.nbytes for part in parts if part is not None)
