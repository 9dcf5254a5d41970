"""Batches of examples that show pictures: padded, with the pixel values of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from halo_forge.config.sections import ImageSettings
from halo_forge.core.errors import UserError
from halo_forge.models.adapter import Adapter
from halo_forge.models.pictures import open_pictures
from halo_forge.sft.batches import PICTURES

__all__ = ["PicturedCollator"]


class PicturedCollator:
    """Makes a batch of rows of `halo_forge.sft.batches.to_columns`.

    Pictures are opened when their batch is made: the pixel values of a whole run would not fit into
    memory. Rows are padded at their ends, since what stands before a picture decides its place.

    Args:
        adapter: Of the model that is trained.
        images: How pictures are read, as when the tokens were worked out.
    """

    def __init__(self, adapter: Adapter, images: ImageSettings) -> None:
        self._adapter = adapter
        self._images = images

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return ids, mask, labels, and what the model is given of the pictures."""
        ids, labels = (
            [torch.as_tensor(row[key]) for row in rows] for key in ("input_ids", "labels")
        )
        pad = self._adapter.tokenizer.pad_token_id
        tokens = pad_sequence([one.long() for one in ids], batch_first=True, padding_value=pad)
        return {
            "input_ids": tokens,
            "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
            "labels": pad_sequence(
                [one.long() for one in labels], batch_first=True, padding_value=-100
            ),
            **self._adapter.roles(tokens),
            **self._look([name for row in rows for name in row.get(PICTURES, ())]),
        }

    def _look(self, pictures: Sequence[str]) -> Mapping[str, Tensor]:
        if not pictures:
            return {}
        seen = [
            self._adapter.look(open_pictures([name], self._images, "a training example"))
            for name in pictures
        ]
        try:
            return {key: torch.cat([one[key] for one in seen]) for key in seen[0]}
        except RuntimeError as error:
            raise UserError(
                "pictures of different shapes do not go into one batch of this model: set "
                f"training.batch_size to 1 ({str(error).splitlines()[0]})"
            ) from error
