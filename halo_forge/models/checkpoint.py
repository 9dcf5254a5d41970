"""Checkpoints: a folder that exists whole or not at all, and says what it was made from."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file

from halo_forge.core.errors import ModelFault
from halo_forge.core.identity import digest
from halo_forge.models.builtin import PREFIX
from halo_forge.models.load import Model
from halo_forge.models.quiet import no_progress_bars
from halo_forge.models.refs import adapter_base, base_ref, resolve, resolve_cycle
from halo_forge.models.weights import (
    ADAPTER_WEIGHTS,
    fingerprint,
    full_disk_as_os_error,
    is_adapter,
    read_json,
    weight_files,
)
from halo_forge.store.atomic import replace_directory

__all__ = [
    "MANIFEST",
    "Beside",
    "is_complete",
    "model_digest",
    "read_manifest",
    "resolve_cycle",
    "save_checkpoint",
    "write_weights",
]

MANIFEST = "halo_forge.json"
_LIBRARIES = ("halo-forge", "torch", "transformers", "peft")


class Beside(Protocol):
    """A tokenizer of transformers, or an adapter of ours."""

    def save_pretrained(self, folder: Path, /) -> object:
        """Write it to an existing folder."""
        ...


def save_checkpoint(
    model: Model,
    beside: Beside,
    directory: Path,
    base: str | Path,
    meta: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write a model with its tokenizer to ``directory``, which must not exist yet.

    An adapter is written as such and names ``base``; any other model with all its weights.

    Args:
        model: What was trained.
        beside: Its tokenizer with the chat template, or its adapter; written beside it.
        directory: Appears, by a rename, when everything is on the disk.
        base: Reference of the model that training began with. Of an adapter the model below
            it is stored; of a folder the path as seen from ``directory``.
        meta: What else to remember, such as the cycle; JSON-serialisable.
        files: Texts to lay beside it, by name: a model card.

    Returns:
        ``directory``.

    Raises:
        StoreFault: If the disk refuses.
        UserError: If ``base`` is an adapter whose own base does not exist.
    """
    ref = _portable(base_ref(base), directory)
    manifest = {
        "base": ref,
        "kind": "lora" if isinstance(model, PeftModel) else "full",
        "meta": dict(meta),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    with replace_directory(directory) as folder, full_disk_as_os_error(), no_progress_bars():
        write_weights(model, folder, ref)
        beside.save_pretrained(folder)
        for name, content in (files or {}).items():
            (folder / name).write_text(content, encoding="utf-8")
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return directory


def write_weights(model: Model, folder: Path, ref: str) -> None:
    """Write adapter or weights to an existing folder, as safetensors.

    Args:
        model: What was trained.
        folder: Receives the files.
        ref: Reference of the model below an adapter, as it is to be stored.
    """
    if isinstance(model, PeftModel):
        _save_adapter(model, folder, ref)
    else:
        model.save_pretrained(folder)


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return what `save_checkpoint` noted: ``base``, ``kind``, ``meta``, ``libraries``.

    Raises:
        ModelFault: If the folder was not written by halo-forge.
    """
    return read_json(directory / MANIFEST)


def is_complete(directory: Path) -> bool:
    """Tell whether ``directory`` is a checkpoint of halo-forge with all its weights."""
    try:
        return bool(read_manifest(directory) and weight_files(directory))
    except ModelFault:
        return False


def model_digest(ref: str | Path) -> str:
    """Return a digest of what ``ref`` holds, the same on every machine with the same content.

    It reads a few MiB, not the weights; see `halo_forge.models.weights.fingerprint`.

    Raises:
        UserError: If nothing is called so.
        ModelFault: If the model cannot be had or is damaged.
    """
    folder = resolve(ref)
    if is_adapter(folder):
        return digest([fingerprint(folder), model_digest(adapter_base(folder))])
    return digest([fingerprint(folder)])


def _portable(ref: str, directory: Path) -> str:
    """Return ``ref`` so that it still holds when the tree moves: folders relative to here."""
    folder = resolve_cycle(Path(ref).expanduser())
    if ref.startswith(PREFIX) or not folder.is_dir():
        return ref
    return os.path.relpath(folder.resolve(), directory.resolve())


def _save_adapter(model: PeftModel, folder: Path, ref: str) -> None:
    """Write adapter and config; peft's own way adds a card that names this machine's paths."""
    # With anything but False peft may ask the hub about the base model.
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    whole = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(whole, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = copy.copy(model.active_peft_config)
    config.base_model_name_or_path = ref
    config.inference_mode = True
    if isinstance(config.target_modules, set):
        # The order of a set changes from process to process, and the digest with it.
        config.target_modules = sorted(config.target_modules)
    config.save_pretrained(str(folder))
