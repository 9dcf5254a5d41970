"""Weights of 4 bits, where bitsandbytes is there to compute with them."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from transformers import BitsAndBytesConfig

from halo_forge.config.sft import QloraSettings
from halo_forge.core.errors import UserError

__all__ = ["four_bits"]


def four_bits(settings: QloraSettings) -> BitsAndBytesConfig:
    """Return how frozen weights are quantised while loading.

    Raises:
        UserError: If bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise UserError(
            "qlora.enabled needs the package bitsandbytes, which is not installed. Install the "
            "extra: pip install 'halo-forge[qlora]'; or train with LoRA on bfloat16: "
            "qlora.enabled: false."
        )
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=settings.load_in_4bit,
        bnb_4bit_quant_type=settings.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=settings.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=getattr(torch, settings.bnb_4bit_compute_dtype),
    )
