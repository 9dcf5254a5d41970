"""Whether a model keeps answers apart that lie end to end in one row: tried, not assumed.

Architectures differ in what they make of position ids and of the bounds between answers, and one
that ignores them trains each answer on its neighbours without any sign of it. So two short texts
are put through the model at hand, packed and alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from halo_forge.core.errors import ModelFault, UserError
from halo_forge.models.load import Model
from halo_forge.models.structure import backbone, plain
from halo_forge.sft.segments import SEGMENT_ATTENTION

__all__ = ["Packing", "choose_packing", "with_segments", "without_packing"]

_GROUPED = "answers of like length together, padded"
_LENGTHS = (7, 12)
# Relative to the hidden states. A neighbour that is seen changes them by some tenths; sums in
# another order by rounding alone.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 4e-2}


@dataclass(frozen=True, slots=True)
class Packing:
    """How the answers of a forward pass lie in memory.

    Attributes:
        packed: End to end in one row without padding, or else padded to the longest.
        words: The choice and its reason, for a person.
    """

    packed: bool
    words: str


def choose_packing(model: Model, setting: str, attn: str) -> Packing:
    """Decide whether answers are packed, and make ``model`` ready for it.

    Args:
        model: Its attention is changed where packing needs it.
        setting: ``auto``, ``on`` or ``off``; see `halo_forge.config.raft.TrainingSettings`.
        attn: Attention implementation of ``model`` as loaded.

    Raises:
        UserError: If it is to be on and the model does not keep answers apart.
    """
    if setting == "off":
        return Packing(packed=False, words=_GROUPED)
    name = SEGMENT_ATTENTION if attn == "sdpa" else attn
    if name == SEGMENT_ATTENTION or "flash" in name:
        plain(model).set_attn_implementation(name)
        if _keeps_apart(model):
            return Packing(packed=True, words="answers end to end, without padding")
        plain(model).set_attn_implementation(attn)
    reason = f"{type(plain(model)).__name__} with {attn} attention does not keep them apart"
    if setting == "on":
        raise UserError(
            f"training.packing is on, and of packed answers {reason}. Set training.packing to "
            "auto or off, or hardware.attn_implementation to sdpa."
        )
    return Packing(packed=False, words=f"{_GROUPED}, since {reason}")


def without_packing(setting: str) -> Packing:
    """Return that answers to pictures are padded: their places have rows and columns.

    Raises:
        UserError: If packing is to be on.
    """
    if setting == "on":
        raise UserError(
            "training.packing is on, and examples that show images are not packed. Set "
            "training.packing to auto or off."
        )
    return Packing(packed=False, words=f"{_GROUPED}, since they show images")


def with_segments(inputs: dict[str, Any]) -> dict[str, Any]:
    """Add the length of each packed answer as plain numbers: read once, not in every layer."""
    bounds = inputs.get("cu_seq_lens_q")
    return inputs if bounds is None else {**inputs, "segments": bounds.diff().tolist()}


@torch.no_grad()
def _keeps_apart(model: Model) -> bool:
    device = plain(model).device
    vocabulary = plain(model).config.get_text_config().vocab_size
    numbers = torch.Generator().manual_seed(0)
    texts = [
        torch.randint(vocabulary, (length,), generator=numbers).tolist() for length in _LENGTHS
    ]
    collate = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)
    training = model.training
    model.eval()
    try:
        packed = _hidden(model, collate([{"input_ids": text} for text in texts]), device)
        alone = [_hidden(model, {"input_ids": torch.tensor([text])}, device) for text in texts]
    except (AttributeError, ModelFault, TypeError, ValueError):
        return False  # the architecture does not know packed answers, or says it cannot
    finally:
        model.train(training)
    expected = torch.cat(alone, dim=1).float()
    error = (packed.float() - expected).norm() / expected.norm()
    return bool(error <= _TOLERANCE.get(packed.dtype, _TOLERANCE[torch.bfloat16]))


def _hidden(model: Model, batch: dict[str, Any], device: torch.device) -> Tensor:
    inputs = {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in batch.items()
        if name != "labels"
    }
    hidden: Tensor = backbone(model)(**with_segments(inputs), use_cache=False).last_hidden_state
    return hidden
