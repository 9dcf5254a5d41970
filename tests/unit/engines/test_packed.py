"""Packed weights: the same products, and the same bits for a row however many rows there are."""

import pytest
import torch
from torch import nn

from halo_forge.engines.packed import PackedLinear, pack_linears
from tests.needs import lacking


@pytest.fixture(autouse=True)
def _operators() -> None:
    """Need what torch has on x86: where it changes its name, nothing would be packed any more."""
    if not pack_linears(nn.Sequential(nn.Linear(2, 2)), 2**20):
        lacking("torch has no MKL here, or its operators have other names")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs"), [(576, 192), (1536, 576), (64, 128), (33, 7)])
def test_products(inputs: int, outputs: int, bias: bool) -> None:
    """A packed layer computes what the plain one does; a row's bits do not depend on their number.

    On some processors that is not so for the plain layer, which is why it is replaced.
    """
    torch.manual_seed(1)
    plain = nn.Linear(inputs, outputs, bias=bias).requires_grad_(requires_grad=False)
    packed = PackedLinear(plain)
    states = torch.randn(64, 1, inputs)
    packed.pack(64)
    whole = packed(states)
    assert whole.shape == (64, 1, outputs)
    torch.testing.assert_close(whole, plain(states), atol=2e-5, rtol=1e-4)
    for rows in (8, 16, 24, 48):
        packed.pack(rows)
        assert torch.equal(packed(states[:rows]), whole[:rows])
        assert torch.equal(packed(states[64 - rows :]), whole[64 - rows :])
    packed.pack(0)
    assert torch.equal(packed(states), plain(states))


def test_other_numbers_of_rows_use_the_plain_weight() -> None:
    """A prompt goes through a layer that is packed for a step."""
    plain = nn.Linear(16, 8).requires_grad_(requires_grad=False)
    packed = PackedLinear(plain)
    packed.pack(8)
    states = torch.randn(1, 5, 16)
    assert torch.equal(packed(states), plain(states))


def test_what_is_packed() -> None:
    """Plain float32 layers and no others; parameters are shared, so tied weights stay tied."""
    model = nn.Module()
    model.embed = nn.Embedding(10, 4)
    model.head = nn.Linear(4, 10, bias=False)
    model.head.weight = model.embed.weight
    model.short = nn.Linear(4, 4, dtype=torch.bfloat16)
    model.own = type("Own", (nn.Linear,), {})(4, 4)
    assert pack_linears(model, 2 * 40 * 4 - 1) == []
    assert type(model.head) is nn.Linear
    (layer,) = pack_linears(model, 2 * 40 * 4)
    assert model.head is layer
    assert layer.weight is model.embed.weight
    assert type(model.short) is nn.Linear
