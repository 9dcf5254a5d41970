"""One GGUF file to one folder of safetensors that trains, saves and stops like the original."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import torch
from tokenizers import Tokenizer, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    GgufConfig,
    PreTrainedTokenizerBase,
)

from halo_forge.models.quiet import no_progress_bars
from halo_forge.models.weights import full_disk_as_os_error

__all__ = ["convert_gguf"]


def convert_gguf(
    gguf: Path, folder: Path, *, context_length: int, pad_token: str, split_digits: bool
) -> None:
    """Write the model and the tokenizer of ``gguf`` to ``folder``.

    Args:
        gguf: The file; only its own folder is read.
        folder: Existing folder that receives the files.
        context_length: Longest sequence the model was trained on, in tokens.
        pad_token: Token of the vocabulary that pads batches; never the end token.
        split_digits: The tokenizer cuts numbers into single digits, which a GGUF file says by
            a name only and transformers ignores.

    Raises:
        OSError: If the folder cannot be written.
    """
    # The GGUF reader's bar is a bare tqdm on standard error, with no switch of its own.
    with no_progress_bars(), contextlib.redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        _mend_tokenizer(tokenizer, context_length, pad_token, split_digits=split_digits)
        # Without dequantize=True the model counts as quantized and refuses to be saved.
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        )
        model.config.pad_token_id = tokenizer.pad_token_id
        # A fresh one: nothing but the three tokens, so no sampling setting hides in the file.
        model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        with full_disk_as_os_error():
            tokenizer.save_pretrained(folder)
            model.save_pretrained(folder)


def _mend_tokenizer(
    tokenizer: PreTrainedTokenizerBase, context_length: int, pad_token: str, *, split_digits: bool
) -> None:
    """Put right what the reading of a GGUF file loses."""
    tokenizer.pad_token = pad_token
    tokenizer.model_max_length = context_length
    if split_digits:
        backend: Tokenizer = tokenizer.backend_tokenizer
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), backend.pre_tokenizer]
        )
