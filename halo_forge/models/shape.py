"""A model as numbers, read from its layers without values."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import nn

from halo_forge.config.sections import LoraSettings
from halo_forge.models import load
from halo_forge.models.lora import add_lora
from halo_forge.models.refs import base_ref
from halo_forge.models.roofline import Shape
from halo_forge.models.structure import backbone, output_layer

__all__ = ["shape_of"]


def shape_of(
    ref: str | Path, lora: LoraSettings | None = None, *, trust_remote_code: bool = False
) -> Shape:
    """Return the shape of the model called ``ref``, or of the model below it if it is an adapter.

    Args:
        ref: As `halo_forge.models.load.load_model` takes it.
        lora: The adapters that are to be trained on it; none when absent or turned off.
        trust_remote_code: Run Python code that ships with the model.

    Raises:
        UserError: If the reference or a name of a layer is wrong.
        ModelFault: If the model cannot be had.
    """
    model = load.load_skeleton(base_ref(ref), trust_remote_code=trust_remote_code)
    config = model.config.get_text_config()
    embedding = cast(nn.Embedding, model.get_input_embeddings()).weight.numel()
    inner = sum(p.numel() for p in backbone(model).parameters() if p.dim() > 1)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = config.num_attention_heads
    parameters = sum(p.numel() for p in model.parameters())
    head = output_layer(model).weight.numel()
    adapters = 0
    if lora is not None and lora.enabled:
        adapted = add_lora(model, lora, seed=0)
        adapters = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    return Shape(
        layers=config.num_hidden_layers,
        linear=inner - embedding,
        head=head,
        parameters=parameters,
        adapters=adapters,
        queries=heads * size,
        keys=(getattr(config, "num_key_value_heads", None) or heads) * size,
        width=config.hidden_size,
        vocabulary=config.vocab_size,
    )
