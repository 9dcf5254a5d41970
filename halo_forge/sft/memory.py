"""Whether the activations of a forward pass fit, found by weighing those of two short ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from halo_forge.config.sft import SFTConfig
from halo_forge.core.errors import UserError
from halo_forge.models.load import Model, pick_dtype
from halo_forge.models.lora import add_lora
from halo_forge.models.memory import free_memory
from halo_forge.models.structure import backbone, output_layer, plain
from halo_forge.utils.hardware import probe

__all__ = [
    "Activations",
    "Checkpointing",
    "MemoryPlan",
    "choose_checkpointing",
    "plan_memory",
    "recomputes",
    "trained_bytes",
    "weigh",
]

_LENGTHS = (32, 64)
# What an optimiser step adds for each trained weight: a gradient and Adam's two moments, float32.
_TRAINED_BYTES = 12
# Half a byte, and its share of the scales (Dettmers et al. 2023, section 3).
_FOUR_BITS = 0.55
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


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What a training phase holds from its first step to its last, activations apart; in bytes.

    Attributes:
        frozen: Weights that are not trained.
        trained: Weights that are, in float32, with a gradient and Adam's two moments each.
        free: What the device has free now.
    """

    frozen: int
    trained: int
    free: int

    @property
    def needed(self) -> int:
        """All of it."""
        return self.frozen + self.trained

    @property
    def words(self) -> str:
        """The plan, for a person."""
        return (
            f"{self.needed / 1e9:.2f} GB of {self.free / 1e9:.2f} GB free, activations apart: "
            f"{self.frozen / 1e9:.2f} GB of frozen weights, {self.trained / 1e9:.2f} GB of trained "
            "ones with gradients and Adam's moments"
        )

    def check(self) -> None:
        """Find out before anything is loaded that it cannot fit.

        Raises:
            UserError: If it cannot, with the ways out.
        """
        if self.needed > self.free:
            raise UserError(
                f"this needs {self.words}. Train adapters (without --no-lora), keep frozen weights "
                "in 4 bits (qlora.enabled: true), or take a smaller model."
            )


def plan_memory(skeleton: PreTrainedModel, config: SFTConfig, device: torch.device) -> MemoryPlan:
    """Work out what training holds, from the shapes alone.

    Args:
        skeleton: The model without values (`halo_forge.models.load.load_skeleton`); adapters are
            put on it.
        config: Adapters or all weights, 4 bits or not.
        device: Where it is to be trained.
    """
    whole = sum(p.numel() for p in skeleton.parameters())
    # bitsandbytes keeps embeddings, norms and the output layer as they are
    linear = sum(m.weight.numel() for m in _linear(skeleton))
    if not config.lora.enabled:
        trained, frozen = whole, 0.0
    else:
        model = add_lora(skeleton, config.lora, seed=0)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        narrow = pick_dtype(config.hardware.bf16, device).itemsize
        small = linear if config.qlora.enabled else 0
        frozen = small * _FOUR_BITS + (whole - small) * narrow
    return MemoryPlan(
        frozen=int(frozen),
        trained=trained * torch.float32.itemsize + trained_bytes(trained),
        free=free_memory(device, probe()),
    )


def _linear(model: PreTrainedModel) -> list[torch.nn.Linear]:
    head = output_layer(model)
    modules = model.modules()
    return [one for one in modules if type(one) is torch.nn.Linear and one is not head]


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
