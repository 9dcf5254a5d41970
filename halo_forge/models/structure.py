"""The parts of a causal language model, adapters on it or not."""

from __future__ import annotations

from typing import cast

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from halo_forge.models.load import Model

__all__ = ["attention", "backbone", "output_layer", "plain"]


def plain(model: Model) -> PreTrainedModel:
    """Return the model below the adapters."""
    return cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)


def attention(model: Model) -> str:
    """Return the name of the attention implementation that the model uses."""
    return str(plain(model).config._attn_implementation)  # noqa: SLF001 - there is no other way


def backbone(model: Model) -> nn.Module:
    """Return the layers below the output layer, adapters in them included."""
    return plain(model).base_model


def output_layer(model: Model) -> nn.Linear:
    """Return the layer that turns hidden states into logits."""
    return cast(nn.Linear, plain(model).get_output_embeddings())  # type: ignore[no-untyped-call]
