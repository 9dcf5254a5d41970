"""Which attention a model trains with where fused attention cannot be taken for granted."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from halo_forge.core.errors import Fault
from halo_forge.models.cut import first_layers
from halo_forge.models.stage_process import StageProcess, Tell
from halo_forge.models.weights import read_json

__all__ = ["choose_attention", "survives"]

_FUSED, _PLAIN = "sdpa", "eager"
_LAYERS = 4  # hybrids have full attention in every fourth layer
_TOKENS = 32
_log = logging.getLogger(__name__)


def choose_attention(
    setting: str, folder: Path, device: torch.device, *, trust_remote_code: bool = False
) -> str:
    """Return the attention implementation to load the model of ``folder`` with.

    Args:
        setting: As `hardware.attn_implementation`; what is not ``auto`` is returned.
        folder: The model, whole weights.
        device: Where it will train. Only with ROCm is anything tried: kernels of gfx115x are called
            experimental, and hybrids such as Qwen3.5 have crashed in them.
        trust_remote_code: Run Python code that ships with the model.
    """
    if setting != "auto":
        return setting
    if device.type != "cuda" or torch.version.hip is None:
        return _FUSED
    if survives(folder, str(device), trust_remote_code=trust_remote_code):
        return _FUSED
    _log.warning("a training step with %s attention failed here: %s is used", _FUSED, _PLAIN)
    return _PLAIN


@functools.cache
def survives(folder: Path, device: str, *, trust_remote_code: bool) -> bool:
    """Tell whether one step of the first layers with fused attention goes well.

    In a process of its own, since a kernel that fails may take its process with it.
    """
    try:
        with StageProcess("attention", _step, folder, device, trust_remote_code) as process:
            return list(process) == [True]
    except Fault as error:
        _log.info("%s attention: %s", _FUSED, error)
        return False


def _step(
    tell: Tell, inbox: Iterator[Any], folder: Path, device: str, trust_remote_code: bool
) -> None:
    """Say whether a forward and a backward pass give figures."""
    from halo_forge.models.load import load_model

    del inbox
    config = read_json(folder / "config.json")
    layers = min(_LAYERS, config.get("text_config", config)["num_hidden_layers"])
    with first_layers(folder, layers) as cut:
        model: Any = load_model(
            cut,
            dtype=torch.bfloat16,
            device=device,
            attn=_FUSED,
            trainable=True,
            trust_remote_code=trust_remote_code,
        )
    ids = torch.arange(_TOKENS, device=device)[None]
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    pulls = [weight.grad for weight in model.parameters() if weight.grad is not None]
    tell(all(bool(torch.isfinite(one).all()) for one in [loss, *pulls]))
