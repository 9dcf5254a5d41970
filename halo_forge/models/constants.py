"""The measured constants of this machine, kept until something that they hang on changes."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from halo_forge.core.identity import digest
from halo_forge.models.builtin import cache_dir
from halo_forge.models.roofline import Rates
from halo_forge.store.atomic import write_text
from halo_forge.utils.hardware import Hardware, probe

__all__ = ["Constants", "constants_path", "fingerprint", "keep_constants", "known_constants"]

_FILE = "constants.json"


@dataclass(frozen=True, slots=True)
class Constants:
    """Rates of one device and type, and when they were measured.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``.
        dtype: Name of the type of products, such as ``float32``.
        rates: What was measured.
        measured: Date and time, ISO 8601.
    """

    device: str
    dtype: str
    rates: Rates
    measured: str

    @classmethod
    def now(cls, device: str, dtype: str, rates: Rates) -> Constants:
        """Return constants that were measured just now."""
        return cls(device, dtype, rates, datetime.now(UTC).isoformat(timespec="seconds"))


class _Entry(BaseModel):
    """One device and type in the file."""

    model_config = ConfigDict(frozen=True)

    flops: float
    reading: float
    measured: str


class _File(BaseModel):
    """The file: the machine it is of, and ``DEVICE DTYPE`` to constants."""

    model_config = ConfigDict(frozen=True)

    machine: str
    constants: dict[str, _Entry]


def constants_path() -> Path:
    """Return the file in the user's cache folder."""
    return cache_dir() / _FILE


def fingerprint(machine: Hardware | None = None) -> str:
    """Return a digest of what the constants hang on: processor, cores, cards, torch, threads."""
    seen = machine or probe()
    cards = [(gpu.vendor, gpu.name, gpu.arch) for gpu in seen.gpus]
    return digest([asdict(seen.cpu), cards, _torch(), os.environ.get("OMP_NUM_THREADS")])


def known_constants() -> dict[tuple[str, str], Constants]:
    """Return what is known of this machine as it is now, by device and type; it may be nothing.

    What was measured with another processor, number of cores, card or torch is not returned, and a
    file that cannot be read counts as none: measuring again costs seconds.
    """
    try:
        kept = _File.model_validate_json(constants_path().read_bytes())
    except (OSError, ValidationError):
        return {}
    if kept.machine != fingerprint():
        return {}
    found: dict[tuple[str, str], Constants] = {}
    for name, entry in kept.constants.items():
        device, _, dtype = name.partition(" ")
        rates = Rates(entry.flops, entry.reading)
        found[device, dtype] = Constants(device, dtype, rates, entry.measured)
    return found


def keep_constants(found: Constants) -> None:
    """Write constants beside those of other devices and types of this machine.

    Raises:
        StoreFault: If the disk refuses.
    """
    known = {**known_constants(), (found.device, found.dtype): found}
    document: dict[str, Any] = {
        "machine": fingerprint(),
        "constants": {
            f"{device} {dtype}": {**asdict(one.rates), "measured": one.measured}
            for (device, dtype), one in sorted(known.items())
        },
    }
    write_text(constants_path(), json.dumps(document, indent=2) + "\n")


def _torch() -> str | None:
    try:
        return version("torch")
    except PackageNotFoundError:
        return None
