"""The base model below a run's adapters, kept in memory from one stage to the next.

Decoder and learner take turns, and all policies of a LoRA run are adapters on one base that never
changes. It is read once; each stage then gets a model of its own whose weights are the very same
memory. What a stage does to its model (layers wrapped, adapters put on, weights replaced by merged
ones) is done to its own modules and leaves the memory alone.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["BaseKeeper", "Wanted"]

_ROOM = 8
"""How many times its size must be free: a float32 copy of bfloat16 weights with an adapter folded
in takes two, and the decoder packs such a copy only where four are free. So the decision to pack,
on which single tokens may hang, is the same with a kept base and without."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A base model that a stage asks for.

    Attributes:
        key: What its weights are and where: a stamp of the files, and the device.
        size: Bytes of its weights as they are stored.
        free: Bytes that nobody uses on its device.
        dtype: Type of the weights; ``auto`` is that of the files.
        attn: Attention implementation of transformers.
        read: Reads it from the disk with a type and an attention implementation.
    """

    key: Hashable
    size: int
    free: int
    dtype: torch.dtype | str
    attn: str
    read: Callable[[torch.dtype | str, str], PreTrainedModel]


@dataclass(frozen=True, slots=True)
class _Held:
    key: Hashable
    size: int
    model: PreTrainedModel
    versions: tuple[int, ...]

    @property
    def intact(self) -> bool:
        """Whether no weight was changed in place, by the counters that autograd keeps."""
        return _versions(self.model) == self.versions


class BaseKeeper:
    """Holds at most one base model, in the type of its files.

    It lets go of it when another one is asked for, when memory is short, when somebody has changed
    a weight in place, and on `release`. Models whose copies might differ from what is read anew are
    never held: layers that keep a type of their own, buffers that are stored, attention that cannot
    be exchanged.
    """

    def __init__(self) -> None:
        self._held: _Held | None = None
        self._refused: set[Hashable] = set()

    def lend(self, wanted: Wanted) -> PreTrainedModel:
        """Return a model as ``wanted.read`` would, without reading it again where that is safe.

        Its weights must not be changed in place; to replace them is fine.
        """
        held = self._still_held(wanted.key)
        fits = wanted.size * _ROOM <= wanted.free + (held.size if held is not None else 0)
        if held is None:
            if not fits or wanted.key in self._refused:
                return wanted.read(wanted.dtype, wanted.attn)
            model = wanted.read("auto", wanted.attn)
            if not _copies_well(model):
                self._refused.add(wanted.key)
                same = wanted.dtype in ("auto", model.dtype)
                return model if same else wanted.read(wanted.dtype, wanted.attn)
            held = self._held = _Held(wanted.key, wanted.size, model, _versions(model))
        twin = _twin(held.model, wanted.dtype)
        twin.set_attn_implementation(wanted.attn)
        if not fits:
            _log.info("memory is short: the base model is read again for the next stage")
            self.release()
        return twin

    def release(self) -> None:
        """Let go of the weights; stages that have them keep them."""
        self._held = None

    def _still_held(self, key: Hashable) -> _Held | None:
        held = self._held
        if held is not None and not held.intact:
            _log.warning("weights of the base model were changed in place; it is read again")
        if held is None or held.key != key or not held.intact:
            self.release()
            return None
        return held


def _versions(model: PreTrainedModel) -> tuple[int, ...]:
    return tuple(parameter._version for parameter in model.parameters())  # noqa: SLF001


def _copies_well(model: PreTrainedModel) -> bool:
    """Tell whether a copy with the weights in another type is what would be read in that type."""
    weights = dict(model.named_parameters(remove_duplicate=False))
    stored = [name for name in model.state_dict() if name not in weights]
    own_type = model._keep_in_fp32_modules or model._keep_in_fp32_modules_strict  # noqa: SLF001
    exchangeable = model._can_set_attn_implementation()  # noqa: SLF001
    # what quantising or spreading over devices hangs on a model would still point at the first one
    bound = hasattr(model, "hf_quantizer") or any(
        hasattr(module, "_hf_hook") or "forward" in vars(module) for module in model.modules()
    )
    return not stored and not own_type and exchangeable and not bound


def _twin(model: PreTrainedModel, dtype: torch.dtype | str) -> PreTrainedModel:
    """Return a model of its own on the same memory, or on a copy of another type."""
    kept: dict[int, object] = {}
    for one in model.parameters():
        data = one.detach()
        if not isinstance(dtype, str) and data.is_floating_point():
            data = data.to(dtype)
        kept[id(one)] = type(one)(data, requires_grad=one.requires_grad)
    twin = copy.deepcopy(model, kept)
    if not isinstance(dtype, str):
        twin.config.dtype = dtype
    return twin
