"""Attention of ragged rows: the same as the fused kernel's, row by row, and honest about limits."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from halo_forge.core.errors import ModelFault
from halo_forge.engines.row_attention import row_attention

ROWS, WINDOW, SIZE = 8, 64, 16


class Layer(torch.nn.Module):
    """What the interface hands over as the attention layer."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.num_key_value_groups = groups
        self.is_causal = True


def states(heads: int, key_heads: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Random query (one position), keys and values, and a mask of ragged lengths."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(ROWS, heads, 1, SIZE, generator=generator)
    key = torch.randn(ROWS, key_heads, WINDOW, SIZE, generator=generator)
    value = torch.randn(ROWS, key_heads, WINDOW, SIZE, generator=generator)
    lengths = torch.tensor([1, 2, 5, 17, 30, 31, 63, 64])
    mask = (torch.arange(WINDOW) < lengths[:, None])[:, None, None, :]
    return query, key, value, mask


@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize(("heads", "key_heads"), [(4, 4), (4, 2), (9, 3), (4, 1)])
def test_equals_the_fused_kernel(heads: int, key_heads: int, scaling: float | None) -> None:
    """Rows of different lengths, heads in groups of any size, and the model's own scale."""
    query, key, value, mask = states(heads, key_heads)
    module = Layer(heads // key_heads)
    output, weights = row_attention(module, query, key, value, mask, scaling)
    expected = scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scaling, enable_gqa=True
    )
    assert weights is None
    assert output.shape == (ROWS, 1, heads, SIZE)
    torch.testing.assert_close(output, expected.transpose(1, 2), atol=2e-6, rtol=1e-5)


def test_what_is_masked_does_not_count() -> None:
    """Other contents behind a row's end, and another row's contents, do not change a bit of it."""
    query, key, value, mask = states(4, 2)
    output, _ = row_attention(Layer(2), query, key, value, mask)
    hidden = ~mask.transpose(2, 3)
    other_key = torch.where(hidden, torch.full_like(key, 7.0), key)
    other_value = torch.where(hidden, torch.full_like(value, -3.0), value)
    other_key[0] = other_value[0] = 5.0
    changed, _ = row_attention(Layer(2), query, other_key, other_value, mask)
    assert torch.equal(changed[1:], output[1:])
    assert not torch.equal(changed[0], output[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_window_and_rows_do_not_matter(dtype: torch.dtype) -> None:
    """A row gives the same bits in a longer window and among twice as many rows."""
    query, key, value, mask = (
        x if x.dtype == torch.bool else x.to(dtype) for x in states(4, 2, seed=3)
    )
    output, _ = row_attention(Layer(2), query, key, value, mask)
    wide = [torch.cat([x, torch.zeros_like(x)], dim=2) for x in (key, value)]
    longer = torch.cat([mask, torch.zeros_like(mask)], dim=3)
    assert torch.equal(row_attention(Layer(2), query, *wide, longer)[0], output)
    more = [torch.cat([x, x.flip(0)]) for x in (query, key, value, mask)]
    assert torch.equal(row_attention(Layer(2), *more)[0][:ROWS], output)


def test_prompts_are_causal() -> None:
    """A whole prompt, which comes without a mask, attends to its own past only."""
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(1, 4, 20, SIZE, generator=generator)
    key, value = (torch.randn(1, 2, 20, SIZE, generator=generator) for _ in range(2))
    output, _ = row_attention(Layer(2), query, key, value, None, dropout=0.0)
    expected = scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(output, expected.transpose(1, 2), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["softcap", "s_aux", "position_bias"])
def test_terms_it_does_not_compute(name: str) -> None:
    """A model that needs another term is refused by name; the same argument as None is not."""
    query, key, value, mask = states(4, 2)
    with pytest.raises(ModelFault, match=f"does not compute attention with {name}"):
        row_attention(Layer(2), query, key, value, mask, **{name: torch.ones(4)})
    output, _ = row_attention(Layer(2), query, key, value, mask, **{name: None})
    assert torch.isfinite(output).all()
