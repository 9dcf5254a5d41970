"""The order in which a training phase reads its examples: a function of seed and epoch alone.

So a phase that goes on in the middle of an epoch reads on where it was, whatever else has drawn
random numbers in the meantime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from halo_forge.core.identity import derive_seed
from halo_forge.utils.typing import override

__all__ = ["EpochOrder"]


class EpochOrder(Sampler[int]):
    """Positions of all examples, in another order each epoch.

    Args:
        lengths: Tokens of each example.
        seed: Of the order.
        epoch: Tells which epoch begins, from 0.
        grouped: Size of the groups within which examples go by length; None: plain chance.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        seed: int,
        epoch: Callable[[], int],
        *,
        grouped: int | None = None,
    ) -> None:
        self._lengths = lengths
        self._seed = seed
        self._epoch = epoch
        self._grouped = grouped

    def __len__(self) -> int:
        return len(self._lengths)

    @override
    def __iter__(self) -> Iterator[int]:
        seed = derive_seed(self._seed, "order", self._epoch())
        numbers = torch.Generator().manual_seed(seed)
        if self._grouped is None:
            order: list[int] = torch.randperm(len(self), generator=numbers).tolist()
        else:
            order = get_length_grouped_indices(  # type: ignore[no-untyped-call]
                self._lengths, self._grouped, generator=numbers
            )
        return iter(order)
