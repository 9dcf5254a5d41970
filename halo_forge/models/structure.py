"""The parts of a causal language model, adapters on it or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from halo_forge.models.load import Model

__all__ = ["attention", "backbone", "output_layer", "places_of", "plain", "senses"]

_READERS = frozenset({"language_model", "text_model"})


def plain(model: Model) -> PreTrainedModel:
    """Return the model below the adapters."""
    return cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)


def attention(model: Model) -> str:
    """Return the name of the attention implementation that the model uses."""
    return str(plain(model).config._attn_implementation)  # noqa: SLF001 - there is no other way


def backbone(model: Model) -> nn.Module:
    """Return the layers below the output layer, adapters in them included."""
    return plain(model).base_model


def senses(model: Model) -> dict[str, nn.Module]:
    """Return the parts that turn pictures into embeddings, by name; a model of text has none."""
    parts = dict(backbone(model).named_children())
    return {k: v for k, v in parts.items() if k not in _READERS} if _READERS & parts.keys() else {}


def places_of(
    model: Model, tokens: Tensor, shown: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], int]:
    """Return where the tokens of a prompt stand, for models whose pictures have rows and columns.

    Args:
        model: Any.
        tokens: (1, positions).
        shown: What the model is given of the prompt's pictures; empty without any.

    Returns:
        An argument for the model, none where places count the tokens; and the place of the next
        token less the tokens before it.
    """
    layers: Any = backbone(model)
    if not shown or not hasattr(layers, "get_rope_index"):
        return {}, 0
    places, beyond = layers.get_rope_index(tokens, **shown)
    return {"position_ids": places}, int(beyond)


def output_layer(model: Model) -> nn.Linear:
    """Return the layer that turns hidden states into logits."""
    return cast(nn.Linear, plain(model).get_output_embeddings())  # type: ignore[no-untyped-call]
