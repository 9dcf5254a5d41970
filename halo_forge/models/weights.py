"""What lies in a model's folder, told from the files alone: no weights are loaded here."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from halo_forge.core.errors import ModelFault

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "INDEX",
    "WEIGHTS",
    "check_safetensors",
    "fingerprint",
    "full_disk_as_os_error",
    "is_adapter",
    "read_json",
    "stamp",
    "weight_files",
]

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_SPAN = 1 << 20
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# Written anew by whoever saves the folder, without any change of the model.
_INCIDENTAL = ("transformers_version", "_name_or_path", "peft_version", "base_model_name_or_path")
_DESCRIBING = ("config.json", ADAPTER_CONFIG, "generation_config.json", "tokenizer.json")


def is_adapter(folder: Path) -> bool:
    """Tell whether ``folder`` holds a PEFT adapter rather than a whole model."""
    return (folder / ADAPTER_CONFIG).is_file()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelFault: If the file is missing, unreadable, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelFault(f"{path} is missing; the folder is not a complete model.") from error
    except (OSError, ValueError) as error:
        raise ModelFault(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ModelFault(f"{path} holds {type(value).__name__}, expected a JSON object.")
    return value


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model or an adapter, each checked to be whole.

    Raises:
        ModelFault: If there are none (with the way out when only pickles lie there), if a
            shard is missing, or if a file is cut short.
    """
    if is_adapter(folder):
        files = [folder / ADAPTER_WEIGHTS]
    elif (folder / INDEX).is_file():
        shards = read_json(folder / INDEX).get("weight_map", {})
        files = [folder / name for name in sorted(set(shards.values()))]
    else:
        files = [folder / WEIGHTS]
    for path in files:
        if not path.is_file():
            raise ModelFault(_missing(folder, path.name))
        check_safetensors(path)
    return files


def _missing(folder: Path, name: str) -> str:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        return (
            f"{folder} has its weights in {pickles[0]} only. That is a pickle, which can run "
            "any program when it is opened, so it is not loaded. If you trust its author, "
            "convert it once: AutoModelForCausalLM.from_pretrained(FOLDER, "
            "use_safetensors=False).save_pretrained(NEW_FOLDER)."
        )
    gguf = sorted(path.name for path in folder.glob("*.gguf"))
    if gguf:
        return (
            f"{folder} has its weights in {gguf[0]} only. GGUF is for inference; training needs "
            f"the safetensors of the same model."
        )
    return f"{folder / name} is missing; the folder is not a complete model."


def check_safetensors(path: Path) -> None:
    """Check that a safetensors file is as long as its header says.

    Raises:
        ModelFault: If it is cut short or is no safetensors file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                raise ModelFault(_damaged(path, "its header is cut short"))
            header = json.loads(file.read(length))
        ends = [row["data_offsets"][1] for key, row in header.items() if key != "__metadata__"]
    except OSError as error:
        raise ModelFault(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelFault(_damaged(path, "it has no safetensors header")) from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ModelFault(_damaged(path, f"it has {size} bytes, its header says {expected}"))


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged: {why}. Delete it and fetch or save the model again."


def fingerprint(folder: Path) -> str:
    """Return a digest of the content of a model's folder.

    Adapters are read whole. Of full weights only the sizes, the headers and the first and
    last MiB of each file are read, which is enough to tell two checkpoints apart.

    Raises:
        ModelFault: If the weights are missing or damaged.
    """
    digest = hashlib.sha256()
    whole = is_adapter(folder)
    for path in weight_files(folder):
        digest.update(f"{path.name}:{path.stat().st_size}\n".encode())
        for piece in _read(path) if whole else _ends(path):
            digest.update(piece)
    for name in _DESCRIBING:
        if (folder / name).is_file():
            content = {k: v for k, v in read_json(folder / name).items() if k not in _INCIDENTAL}
            digest.update(f"{name}\n{json.dumps(content, sort_keys=True)}\n".encode())
    for path in sorted(folder.glob("*.jinja")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def stamp(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return what changes when a file of a model's folder is written or replaced.

    For one process at one machine: names, sizes, times and inodes, where `fingerprint` takes half a
    second for a large vocabulary.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    facts = [(path, path.stat()) for path in files]
    return tuple((str(p.resolve()), s.st_size, s.st_mtime_ns, s.st_ino) for p, s in facts)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_SPAN):
            yield piece


def _ends(path: Path) -> Iterator[bytes]:
    """Yield the header, and the first and last MiB of the data."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        yield file.read(length)
        yield file.read(_SPAN)
        file.seek(max(8 + length, path.stat().st_size - _SPAN))
        yield file.read(_SPAN)


@contextmanager
def full_disk_as_os_error() -> Iterator[None]:
    """Give a full disk its type back, which safetensors reports by its text alone.

    Raises:
        OSError: With ``ENOSPC``, when the disk was full.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if "os error 28" in str(error) or "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise
