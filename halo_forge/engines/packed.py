"""Linear layers of a model on a CPU with their weights packed for the matrix products of decoding.

MKL rearranges a plain weight on every call, which products of few rows pay dearly; packed once, the
same product takes less time, and a row gets the same bits whatever the number of rows, which does
not hold for plain weights (``bench/products.py`` shows both). torch uses the same two operators
when it freezes a compiled model (``torch._inductor``).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from halo_forge.utils.typing import override

__all__ = ["PackedLinear", "can_pack", "pack_linears", "room_to_pack"]


class PackedLinear(nn.Module):
    """A float32 linear layer whose weight is packed for a number of rows.

    Args:
        layer: The layer to stand in for; its parameters are shared, not copied.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self._packed: Tensor | None = None
        self._rows = 0

    def pack(self, rows: int) -> None:
        """Arrange the weight for products of ``rows`` rows; 0 forgets the arrangement."""
        self._packed, self._rows = None, rows
        if rows:
            self._packed = torch.ops.mkl._mkl_reorder_linear_weight(self.weight.data, rows)  # noqa: SLF001

    @override
    def forward(self, states: Tensor) -> Tensor:
        """Multiply; other numbers of rows than the one packed for use the plain weight."""
        if self._packed is None or states.numel() != self._rows * self.in_features:
            return linear(states, self.weight, self.bias)
        product: Tensor = torch.ops.mkl._mkl_linear(  # noqa: SLF001
            states, self._packed, self.weight, self.bias, self._rows
        )
        return product


def pack_linears(
    model: nn.Module, free: int, apart: Collection[nn.Module] = ()
) -> list[PackedLinear]:
    """Put packed layers in the place of ``model``'s linear layers where that pays.

    Args:
        model: Changed in place.
        free: Bytes that nobody uses; see `room_to_pack`.
        apart: Parts of the model that no step of decoding uses: those that look at pictures.

    Returns:
        The layers put in; none where weights are not float32 on a CPU, or torch has no MKL.
    """
    if not can_pack():
        return []
    unused = {module for part in apart for module in part.modules()}
    found = [
        (parent, name, PackedLinear(layer))
        for parent in model.modules()
        if parent not in unused
        for name, layer in parent.named_children()
        if isinstance(layer, nn.Linear) and _pays(layer)
    ]
    if not room_to_pack(sum(packed.weight.nbytes for _, _, packed in found), free):
        return []
    for parent, name, packed in found:
        setattr(parent, name, packed)
    return [packed for _, _, packed in found]


def can_pack() -> bool:
    """Tell whether this torch has the two operators."""
    return hasattr(torch.ops.mkl, "_mkl_linear")


def room_to_pack(weights: int, free: int) -> bool:
    """Tell whether a second copy of ``weights`` bytes leaves half of ``free`` bytes alone."""
    return 2 * weights <= free


def _pays(layer: nn.Linear) -> bool:
    weight = layer.weight
    return (
        type(layer) is nn.Linear and weight.dtype == torch.float32 and weight.device.type == "cpu"
    )
