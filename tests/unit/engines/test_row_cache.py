"""The cache of independent rows: what is loaded, grown, moved and forgotten."""

import torch
from transformers.cache_utils import DynamicCache

from halo_forge.engines.row_cache import WINDOW_STEP, RowCache

HEADS, SIZE = 2, 4


def prefix(length: int, fill: float) -> DynamicCache:
    """A prefilled prompt of one layer."""
    cache = DynamicCache()
    states = torch.full((1, HEADS, length, SIZE), fill)
    cache.update(states, -states, 0)
    return cache


def grow(cache: RowCache, active: int, fill: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Write one position a row, as a decoding step does."""
    cache.prepare(active)
    states = torch.full((active, HEADS, 1, SIZE), fill)
    window = cache.update(states, -states, 0)
    cache.lengths[:active] += 1
    return window


def test_rows_grow_at_their_own_length() -> None:
    """A step writes behind each row's own end, and the mask ends there."""
    cache = RowCache(1, 8, 100, torch.device("cpu"))
    cache.load(0, prefix(3, 1.0), 3)
    cache.load(5, prefix(70, 2.0), 70)
    mask = cache.prepare(8)
    assert mask.shape == (8, 1, 1, 2 * WINDOW_STEP)
    assert mask.sum(dim=(1, 2, 3)).tolist() == [4, 1, 1, 1, 1, 71, 1, 1]
    keys, values = grow(cache, 8, 9.0)
    assert keys.shape == (8, HEADS, 2 * WINDOW_STEP, SIZE)
    assert torch.equal(values, -keys)
    assert keys[0, 0, :5, 0].tolist() == [1, 1, 1, 9, 0]
    assert keys[5, 1, 68:72, 0].tolist() == [2, 2, 9, 0]
    assert cache.lengths.tolist() == [4, 1, 1, 1, 1, 71, 1, 1]


def test_window_follows_the_longest_active_row() -> None:
    """Rows behind the active ones, and released rows, do not widen the window."""
    cache = RowCache(1, 16, 500, torch.device("cpu"))
    cache.load(2, prefix(10, 1.0), 10)
    cache.load(12, prefix(400, 2.0), 400)
    assert cache.prepare(8).shape[-1] == WINDOW_STEP
    assert cache.prepare(16).shape[-1] == 448
    cache.release(12)
    assert cache.prepare(16).shape[-1] == WINDOW_STEP
    assert cache.get_seq_length() == 10


def test_move() -> None:
    """A moved row goes on where it was, and leaves its old place free."""
    cache = RowCache(1, 16, 64, torch.device("cpu"))
    cache.load(13, prefix(6, 3.0), 6)
    cache.move(13, 4)
    assert cache.lengths[4] == 6
    assert cache.lengths[13] == 0
    keys, _ = grow(cache, 8, 9.0)
    assert keys[4, 0, :8, 0].tolist() == [3, 3, 3, 3, 3, 3, 9, 0]


def test_a_row_is_handed_on() -> None:
    """The next sample in a row sees nothing of the last one."""
    cache = RowCache(1, 8, 64, torch.device("cpu"))
    cache.load(0, prefix(20, 3.0), 20)
    cache.release(0)
    cache.load(0, prefix(2, 5.0), 2)
    mask = cache.prepare(8)
    keys, _ = grow(cache, 8, 9.0)
    assert keys[0, 0][mask[0, 0, 0]][:, 0].tolist() == [5, 5, 9]
