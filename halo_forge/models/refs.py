"""Names of models: what `--model` takes, turned into a folder on this machine.

A reference is ``builtin:NAME``, a folder (whole model or adapter), or a hub id. It is what
checkpoints store, so that they load on another machine as well; a path into this machine's
cache is never a reference.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from halo_forge.core.errors import HaloForgeError, ModelFault, UserError
from halo_forge.models import builtin
from halo_forge.models.weights import ADAPTER_CONFIG, is_adapter, read_json
from halo_forge.store.run_dir import RunDir
from halo_forge.utils.text import did_you_mean

__all__ = ["adapter_base", "base_ref", "require_base", "resolve", "resolve_cycle"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_CYCLE = re.compile(r"cycle_\d+")
_BEST = "best"
_WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py"]
_UNWANTED = ["original/*", "onnx/*", "consolidated*"]
_MAX_BASES = 8
_HUB_SECONDS = 8.0


def resolve(ref: str | Path) -> Path:
    """Return the folder that holds the model called ``ref``, fetching it when needed.

    Args:
        ref: ``builtin:NAME``, a folder (``cycle_5`` finds ``cycle_5_final``, ``best`` in a run
            directory the best cycle's), or a hub id, which is downloaded into the hub's own cache;
            of it only safetensors, never pickles.

    Raises:
        UserError: If nothing is called so.
        ModelFault: If it exists but cannot be had: no network, gated, disk full.
    """
    text = str(ref)
    if not text:
        raise UserError("the name of the model is empty.")
    if text.startswith(builtin.PREFIX):
        return builtin.fetch(text)
    path = resolve_cycle(Path(text).expanduser())
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"model {text!r} is a file; name the folder that holds the model.")
    if text in builtin.BUILTIN:
        raise UserError(f"no folder {text!r}. Did you mean {builtin.PREFIX}{text}?")
    if isinstance(ref, Path) or not _HUB_ID.fullmatch(text):
        raise UserError(_no_folder(path))
    return _from_hub(text)


def resolve_cycle(path: Path) -> Path:
    """Return ``path``, or the checkpoint that is meant by it when there is no such file.

    ``cycle_N`` is ``cycle_N_final`` beside it; ``best`` in a run directory is the checkpoint with
    the best held-out pass rate.
    """
    if path.exists():
        return path
    final = path.with_name(path.name + "_final") if _CYCLE.fullmatch(path.name) else path
    if path.name == _BEST and (best := RunDir(path.parent).best_cycle):
        final = RunDir(path.parent).checkpoint_path(best)
    return final if final.is_dir() else path


def adapter_base(folder: Path) -> str:
    """Return the reference of the model that the adapter in ``folder`` was trained on.

    A relative path is meant from the adapter's folder, or failing that from the working
    directory.

    Raises:
        ModelFault: If the adapter does not say.
    """
    base = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelFault(
            f"{folder / ADAPTER_CONFIG} does not say which model the adapter belongs to "
            "(base_model_name_or_path). Write its reference there."
        )
    beside = folder / base
    return str(beside) if not base.startswith(builtin.PREFIX) and beside.is_dir() else base


def base_ref(ref: str | Path) -> str:
    """Return the reference of the whole model under ``ref``: its base when it is an adapter.

    Raises:
        UserError: If an adapter's base does not exist.
        ModelFault: If an adapter does not name its base, or the bases go round in a circle.
    """
    current = str(ref)
    for _ in range(_MAX_BASES):
        if current.startswith(builtin.PREFIX):
            return current
        folder = resolve_cycle(Path(current).expanduser())
        if not is_adapter(folder):
            return current
        current = adapter_base(folder)
    raise ModelFault(f"the adapter {ref} names a base that leads back to itself.")


def require_base(ref: str | Path, base: str) -> None:
    """Refuse an adapter that was trained on another model.

    Args:
        ref: Reference of the adapter, or of a whole model, which is its own base.
        base: Reference of the model that must be under it.

    Raises:
        UserError: If another is, or one of them does not exist.
        ModelFault: If a model cannot be had, or an adapter does not name its base.
    """
    own = base_ref(ref)
    if own != base and resolve(own).resolve() != resolve(base).resolve():
        raise UserError(
            f"the weights of {ref} belong to the base model {own}, not to {base}. Leave the base "
            "model out: an adapter names its own."
        )


def _no_folder(path: Path) -> str:
    parent = path.parent
    siblings = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    return f"model folder {path} does not exist.{did_you_mean(path.name, siblings)}"


def _from_hub(ref: str) -> Path:
    """Download the snapshot of a hub id, or find it in the hub's cache."""
    try:
        from huggingface_hub import HfApi, errors, snapshot_download
    except ModuleNotFoundError as error:
        raise UserError(
            f"model {ref!r} needs the package {error.name!r}, which is not installed. "
            "Install the extra: pip install 'halo-forge[train]'."
        ) from error
    unreachable: Exception | None = None
    try:
        # Asked first because snapshot_download waits for ever where the network swallows it.
        HfApi().model_info(ref, timeout=_HUB_SECONDS)
    except errors.HFValidationError as error:
        raise UserError(f"{ref!r} is neither a folder nor a possible hub id: {error}") from error
    except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]
        unreachable = error
    try:
        folder = snapshot_download(
            ref,
            allow_patterns=_WANTED,
            ignore_patterns=_UNWANTED,
            local_files_only=unreachable is not None,
        )
    except errors.IncompleteSnapshotError as error:
        raise ModelFault(
            f"model {ref!r} is only partly in the hub's cache and the hub cannot be reached. "
            "Run the command again with a network."
        ) from error
    except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]
        raise _hub_error(ref, unreachable or error) from error
    return Path(folder)


def _hub_error(ref: str, error: Exception) -> HaloForgeError:
    """Say in one line what the hub client's exception means for the user."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return ModelFault(
            f"model {ref!r} is gated: accept its terms at https://huggingface.co/{ref}, then "
            "log in with: hf auth login."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(
            f"model {ref!r} is neither a folder here nor a model on the hub "
            "(or it is private: hf auth login)."
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return ModelFault(
            f"model {ref!r} is not a folder here, not in the hub's cache, and HF_HUB_OFFLINE "
            "forbids to download it."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = os.environ.get("HF_HOME", "~/.cache/huggingface")
        return ModelFault(
            f"no room for model {ref!r} in the hub's cache {place}. Free some space, or set "
            "HF_HOME to a folder on another disk."
        )
    return ModelFault(
        f"model {ref!r} is not a folder here, and the hub could not be asked: "
        f"{_first_line(error)}. Check the network, or name a local folder or "
        "builtin:smollm2-135m."
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
