"""Weights, adapters and tokenizers into memory; every way this fails is one clear line."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from halo_forge.config.sft import QloraSettings
from halo_forge.core.errors import ModelFault, UserError
from halo_forge.models.attention import choose_attention
from halo_forge.models.kept import BaseKeeper, Wanted
from halo_forge.models.lora import fold
from halo_forge.models.memory import free_memory
from halo_forge.models.quantize import four_bits
from halo_forge.models.quiet import no_progress_bars, peft_warnings_ignored
from halo_forge.models.refs import adapter_base, resolve
from halo_forge.models.weights import is_adapter, read_json, stamp, weight_files
from halo_forge.utils.hardware import cpu_has_bf16, probe

__all__ = [
    "Model",
    "explained",
    "load_model",
    "load_skeleton",
    "load_tokenizer",
    "pick_device",
    "pick_dtype",
    "resolve",
    "sees",
]

Model = PreTrainedModel | PeftModel

_log = logging.getLogger(__name__)
_DEVICES = ("cpu", "cuda", "mps")
# Vocabulary tokens that families use for padding, tried when the model itself has none that
# differs from its end token.
_PAD_TOKENS = ("<|endoftext|>", "<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<unk>")


def pick_device(setting: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda`` (also ROCm), ``cuda:1`` or ``mps``.

    Raises:
        UserError: If the device is unknown or not here.
    """
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if setting == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if here[name]))
    kind, _, index = setting.partition(":")
    if kind not in _DEVICES or (index and not index.isdigit()):
        raise UserError(f"unknown device {setting!r}. Known: auto, {', '.join(_DEVICES)}.")
    if not here[kind] or (kind == "cuda" and index and int(index) >= torch.cuda.device_count()):
        found = ", ".join(name for name in _DEVICES if here[name])
        raise UserError(
            f"device {setting!r} is not available to torch {torch.__version__}; it sees: {found}. "
            "Use --set hardware.device=auto, or install the torch build for your GPU."
        )
    return torch.device(setting)


def pick_dtype(bf16: bool, device: torch.device) -> torch.dtype:
    """Return bfloat16 when it is wanted and ``device`` computes in it natively, else float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and cpu_has_bf16()
    return torch.bfloat16 if bf16 and native else torch.float32


def load_model(  # noqa: PLR0913 - keywords, each a setting of its own
    ref: str | Path,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    attn: str = "sdpa",
    trust_remote_code: bool = False,
    adapter: Path | None = None,
    trainable: bool = False,
    merge: bool = False,
    quantized: QloraSettings | None = None,
    keeper: BaseKeeper | None = None,
) -> Model:
    """Load a language model, seeing or not, with its adapter when ``ref`` or ``adapter`` is one.

    Args:
        ref: ``builtin:NAME``, a folder, a hub id, or the folder of an adapter, whose base is
            then loaded too.
        dtype: Type of the weights in memory. Adapters that are trained stay in float32.
        device: Where the weights go, without a detour through a second copy.
        attn: Attention implementation of transformers, or ``auto``; see
            `halo_forge.models.attention.choose_attention`.
        trust_remote_code: Run Python code that ships with the model.
        adapter: Folder of an adapter to put on top of ``ref``.
        trainable: Leave weights (or those of an adapter that is not merged) with gradients and
            in training mode.
        merge: Fold the adapter into the weights, in float32 before the cast to ``dtype``.
        quantized: Keep the frozen weights in 4 bits, by these settings.
        keeper: Lends the base where it has it in memory, and keeps it for the next who asks.
            Weights that are trained whole, and models with code of their own, are always read.

    Returns:
        A `PeftModel` when there is an adapter that is not merged, else the plain model.

    Raises:
        UserError: If the reference is wrong, or there is an adapter to put on an adapter.
        ModelFault: If the model cannot be had or loaded.
    """
    folder = resolve(ref)
    if is_adapter(folder):
        if adapter is not None:
            raise UserError(f"{ref} is an adapter itself; {adapter} needs a whole model below it.")
        adapter, folder = folder, _base_folder(folder)
    if trust_remote_code:
        _log.warning("running the Python code that ships with %s (trust_remote_code)", ref)
    wanted: torch.dtype | str = "auto" if merge and adapter is not None else dtype
    special = {"quantization_config": four_bits(quantized)} if quantized is not None else {}
    unlike = (merge and trainable) or trust_remote_code or quantized is not None
    shared = None if unlike else keeper
    if keeper is not None and shared is None:
        keeper.release()
    attn = choose_attention(attn, folder, torch.device(device), trust_remote_code=trust_remote_code)
    plain = _base(
        folder, wanted, torch.device(device), attn, shared, trust=trust_remote_code, **special
    )
    model: Model = plain
    if adapter is not None:
        model = _put_adapter(plain, resolve(adapter), trainable=trainable)
        if merge:
            model = fold(model, dtype)
    if merge or not trainable:
        model.requires_grad_(requires_grad=trainable)
    return model.train(trainable)


def load_skeleton(ref: str | Path, *, trust_remote_code: bool = False) -> PreTrainedModel:
    """Return the model called ``ref``, no adapter, as layers and shapes without values.

    Raises:
        UserError: If the reference is wrong.
        ModelFault: If the model cannot be had or loaded.
    """
    folder = resolve(ref)
    with explained(folder), torch.device("meta"):
        config = AutoConfig.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
        model: PreTrainedModel = _auto_model(folder).from_config(
            config, trust_remote_code=trust_remote_code
        )
    return model


def load_tokenizer(ref: str | Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model; an adapter without one uses its base's.

    The padding token of the result differs from its end token whenever the vocabulary allows,
    so that a mask made from padding does not hide the end of an answer.

    Raises:
        UserError: If the reference is wrong.
        ModelFault: If the tokenizer cannot be had or loaded.
    """
    folder = resolve(ref)
    if is_adapter(folder) and not (folder / "tokenizer_config.json").is_file():
        folder = _base_folder(folder)
    with explained(folder), no_progress_bars():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    _separate_pad(tokenizer)
    return tokenizer


def sees(folder: Path) -> bool:
    """Tell whether the whole model in ``folder`` takes pictures beside text."""
    config = read_json(folder / "config.json")
    known = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    return config.get("model_type") in known and "vision_config" in config


def _auto_model(folder: Path) -> Any:
    return AutoModelForImageTextToText if sees(folder) else AutoModelForCausalLM


def _base_folder(adapter: Path) -> Path:
    """Return the folder of the model below an adapter, one adapter deep."""
    base = adapter_base(adapter)
    try:
        folder = resolve(base)
    except UserError as error:
        raise ModelFault(f"the base model of the adapter {adapter} is missing: {error}") from error
    if is_adapter(folder):
        raise ModelFault(f"the base of the adapter {adapter} is itself an adapter: {folder}.")
    return folder


def _base(
    folder: Path,
    dtype: torch.dtype | str,
    device: torch.device,
    attn: str,
    keeper: BaseKeeper | None,
    *,
    trust: bool,
    **special: Any,
) -> PreTrainedModel:
    """Have whole weights lent, or load them."""

    def read(dtype: torch.dtype | str, attn: str) -> PreTrainedModel:
        return _load_base(folder, dtype, device, attn, trust=trust, **special)

    if keeper is None:
        return read(dtype, attn)
    size = sum(file.stat().st_size for file in weight_files(folder))
    free = free_memory(device, probe())
    with explained(folder):
        return keeper.lend(Wanted((stamp(folder), device), size, free, dtype, attn, read))


def _load_base(
    folder: Path,
    dtype: torch.dtype | str,
    device: torch.device,
    attn: str,
    *,
    trust: bool,
    **special: Any,
) -> PreTrainedModel:
    """Load whole weights and refuse a model of which a part would stay random."""
    read_json(folder / "config.json")
    weight_files(folder)
    # Unified memory holds no second copy of a large model, so it is loaded in place.
    placement: dict[str, Any] = {} if device.type == "cpu" else {"device_map": {"": device}}
    with explained(folder), no_progress_bars():
        # Its annotation leaves out what output_loading_info adds.
        loaded: Any = _auto_model(folder).from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attn,
            trust_remote_code=trust,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **placement,
            **special,
        )
    model: PreTrainedModel
    model, info = loaded
    absent = sorted(info["missing_keys"])
    if absent:
        raise ModelFault(
            f"{folder} lacks {len(absent)} weights of its architecture "
            f"({type(model).__name__}), for instance {absent[0]}; it would answer at random."
        )
    return model


def _put_adapter(model: PreTrainedModel, folder: Path, *, trainable: bool) -> PeftModel:
    """Put an adapter on the model and refuse one of which a part is missing."""
    weight_files(folder)
    with explained(folder), peft_warnings_ignored():
        warnings.filterwarnings("error", message=".*missing adapter keys")
        return PeftModel.from_pretrained(model, folder, is_trainable=trainable)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what transformers, peft and safetensors raise about a model's folder into one line."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"{folder} needs a package that is not installed: {_line(error)}"
        ) from error
    except torch.OutOfMemoryError as error:
        raise ModelFault(
            f"{folder} does not fit into the memory of the device: {_line(error)} "
            "Take a smaller model or --set hardware.device=cpu."
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, UserWarning) as error:
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{folder} ships Python code of its own, which is not run unless you say so: "
                "read it, then say --set model.trust_remote_code=true."
            ) from error
        raise ModelFault(f"{folder} cannot be loaded: {_line(error)}") from error


def _line(error: BaseException) -> str:
    """Return the first line of a library's message, which tends to be a page long."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _separate_pad(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give the tokenizer a padding token that is not its end token, if it has one to give."""
    if tokenizer.pad_token is not None and tokenizer.pad_token != tokenizer.eos_token:
        return
    vocabulary = tokenizer.get_vocab()
    candidates = [*_PAD_TOKENS, tokenizer.unk_token, tokenizer.bos_token]
    for token in candidates:
        if token is not None and token in vocabulary and token != tokenizer.eos_token:
            tokenizer.pad_token = token
            return
    tokenizer.pad_token = tokenizer.eos_token
    _log.warning("%s has no token to pad with but its end token", tokenizer.name_or_path)
