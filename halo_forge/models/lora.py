"""Low-rank adapters: put on a model, and folded into its weights again."""

from __future__ import annotations

import copy
import re
from typing import cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer, LoraModel
from transformers import PreTrainedModel

from halo_forge.config.sections import LoraSettings
from halo_forge.core.errors import UserError
from halo_forge.models.quiet import peft_warnings_ignored
from halo_forge.models.structure import senses

__all__ = ["add_lora", "check_targets", "fold", "merged_copy"]

_LINEAR = ("Linear", "Conv1D", "Linear4bit")
"""Kinds of layers that take an adapter: torch's, GPT-2's, bitsandbytes'."""


def check_targets(model: PreTrainedModel, settings: LoraSettings) -> None:
    """Check that ``model``, with or without values in its weights, has the layers to adapt.

    Raises:
        UserError: If the architecture has no layer of one of the names, with those it has.
    """
    present = _linear_names(model)
    absent = [name for name in settings.target_modules if name not in present]
    if absent:
        raise UserError(
            f"lora.target_modules: {type(model).__name__} has no linear layer called "
            f"{', '.join(absent)}. It has: {', '.join(sorted(present))}."
        )


def add_lora(model: PreTrainedModel, settings: LoraSettings, *, seed: int) -> PeftModel:
    """Put fresh adapters on ``model``, which then answers exactly as before.

    Args:
        model: Changed in place: its linear layers are wrapped.
        settings: Rank, scale, dropout and the layers that get an adapter.
        seed: Of the adapters' first values; the global random state is left alone.

    Raises:
        UserError: If the architecture has no layer of one of the names, with those it has.
    """
    check_targets(model, settings)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.target_modules),
        exclude_modules=_outside(model),
        bias="none",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(), peft_warnings_ignored():
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config)
    if not isinstance(adapted, PeftModel):
        raise TypeError(f"peft returned {type(adapted).__name__}")
    return adapted


def fold(model: PeftModel, dtype: torch.dtype) -> PreTrainedModel:
    """Fold the adapter into the weights and return the plain model, its weights in ``dtype``.

    Each layer is summed in float32 and rounded once, one layer at a time, so the whole model
    is never held in float32. Buffers keep their type, as they do when a model is loaded: rotary
    frequencies in bfloat16 would be those of another model.
    """
    for module in model.modules():
        if isinstance(module, LoraLayer):
            layer = cast(torch.nn.Module, module)
            layer.to(torch.float32)
            module.merge(safe_merge=True)
            layer.to(dtype)
    plain = cast(PreTrainedModel, cast(LoraModel, model.base_model).unload())
    for weight in plain.parameters():
        weight.data = weight.data.to(dtype)
    plain.config.dtype = dtype
    return plain


def merged_copy(model: PeftModel, dtype: torch.dtype) -> PreTrainedModel:
    """Return a plain model with the adapter folded in; ``model`` itself stays as it is."""
    merged = fold(copy.deepcopy(model), dtype)
    merged.train(mode=False)
    return merged


def _outside(model: PreTrainedModel) -> str | None:
    """Return the pattern of layers that look at pictures: they stay as they are."""
    names = "|".join(map(re.escape, senses(model)))
    return rf"(.*\.)?({names})\..*" if names else None


def _linear_names(model: PreTrainedModel) -> set[str]:
    """Return the last parts of the names of the linear layers that can be adapted."""
    looking = {one for part in senses(model).values() for one in part.modules()}
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if type(module).__name__ in _LINEAR and module is not head and module not in looking
    }
