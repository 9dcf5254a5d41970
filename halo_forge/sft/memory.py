"""Whether the activations of a forward pass fit, found by weighing those of two short ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from halo_forge.models.load import Model
from halo_forge.models.memory import free_memory
from halo_forge.models.structure import backbone, plain
from halo_forge.utils.hardware import probe

__all__ = [
    "Activations",
    "Checkpointing",
    "choose_checkpointing",
    "recomputes",
    "trained_bytes",
    "weigh",
]

_LENGTHS = (32, 64)
# What an optimiser step adds for each trained weight: a gradient and Adam's two moments, float32.
_TRAINED_BYTES = 12
# The rest is for gradients on their way through a layer, and for what an allocator cannot join.
_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Activations:
    """What a forward pass keeps for the backward one, in bytes, by the length of an answer.

    Attributes:
        linear: Bytes a position.
        quadratic: Bytes a pair of positions, where attention keeps its scores.
    """

    linear: float
    quadratic: float

    def of(self, lengths: Sequence[int]) -> int:
        """Return the bytes for answers of these lengths together."""
        return int(sum(self.linear * n + self.quadratic * n * n for n in lengths))


@dataclass(frozen=True, slots=True)
class Checkpointing:
    """What becomes of the activations of a forward pass.

    Attributes:
        on: They are computed again in the backward pass.
        words: The choice and its reason, for a person.
    """

    on: bool
    words: str


def choose_checkpointing(
    model: Model, setting: str, lengths: Sequence[int], dtype: torch.dtype
) -> Checkpointing:
    """Decide whether activations are recomputed in the backward pass.

    Args:
        model: As it is to be trained, on its device.
        setting: ``auto``, ``on`` or ``off``; see `halo_forge.config.sections.HardwareSettings`.
        lengths: Positions of each answer in the heaviest forward pass, padding included.
        dtype: Type that matrix products are computed in.
    """
    if setting != "auto":
        return Checkpointing(setting == "on", f"gradient checkpointing {setting}")
    trained = trained_bytes(sum(p.numel() for p in model.parameters() if p.requires_grad))
    needed = weigh(model, dtype).of(lengths) + trained
    free = free_memory(plain(model).device, probe())
    on = recomputes(setting, needed, free)
    words = f"gradient checkpointing {'on' if on else 'off'}"
    return Checkpointing(on, f"{words}: {needed / 1e9:.2f} GB wanted, {free / 1e9:.2f} GB free")


def recomputes(setting: str, needed: int, free: int) -> bool:
    """Tell whether activations are recomputed.

    Args:
        setting: ``auto``, ``on`` or ``off``.
        needed: Bytes that all of them, gradients and moments take.
        free: Bytes that nobody uses.
    """
    return needed > _SHARE * free if setting == "auto" else setting == "on"


def trained_bytes(weights: int) -> int:
    """Return the bytes that gradients and Adam's moments of so many trained weights take."""
    return weights * _TRAINED_BYTES


def weigh(model: Model, dtype: torch.dtype) -> Activations:
    """Measure what forward passes of ``model`` keep for their backward passes.

    Args:
        model: As it is to be trained, on its device.
        dtype: Type that matrix products are computed in.
    """
    short, long = _LENGTHS
    few, many = (_kept_bytes(model, length, dtype) for length in _LENGTHS)
    quadratic = max(0.0, (many / long - few / short) / (long - short))
    return Activations(linear=few / short - quadratic * short, quadratic=quadratic)


def _kept_bytes(model: Model, length: int, dtype: torch.dtype) -> int:
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = plain(model).device
    ids = torch.ones((1, length), dtype=torch.long, device=device)
    narrow = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
    with narrow, torch.autograd.graph.saved_tensors_hooks(keep, _same):
        held: Any = backbone(model)(input_ids=ids, use_cache=False)
    del held
    return sum(kept.values())


def _same(tensor: Tensor) -> Tensor:
    return tensor
