"""A machine's profile put to work: variables before torch is there, a bound on memory after.

This module itself imports no torch: whoever prepares does it before.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from halo_forge.config.profiles import Profile, pick_profile
from halo_forge.config.sections import HardwareSettings
from halo_forge.utils.hardware import card_targets

if TYPE_CHECKING:
    import torch

__all__ = ["bound_memory", "environment", "isolates", "prepare", "profile_facts"]

_ALLOC, _OLD_ALLOC = "PYTORCH_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"
_RENAMED = (2, 10)  # the release of torch from which the new name counts on ROCm
_log = logging.getLogger(__name__)


def prepare(settings: HardwareSettings) -> Profile:
    """Return the profile of this machine, its variables set.

    Variables that are set already are left alone: the user knows better.
    """
    profile = pick_profile(settings, card_targets())
    late = [name for name, value in environment(profile).items() if _missing(name, value)]
    if late and "torch" in sys.modules:
        _log.warning(
            "torch was imported before %s could be set; set them before Python starts",
            ", ".join(late),
        )
    return profile


def _missing(name: str, value: str) -> bool:
    missing = name not in os.environ
    os.environ.setdefault(name, value)
    return missing


def environment(profile: Profile) -> Mapping[str, str]:
    """Return the variables of ``profile`` as the installed torch spells them."""
    found = dict(profile.environment)
    if _ALLOC in found and _torch_version() < _RENAMED:
        found[_OLD_ALLOC] = found.pop(_ALLOC)
    return found


def bound_memory(device: torch.device, settings: HardwareSettings) -> None:
    """Keep torch from taking all memory of a card: on unified memory that stops the machine.

    `torch.OutOfMemoryError` comes instead, which the decoder answers with fewer rows.
    """
    if device.type != "cuda":
        return
    from torch import cuda

    fraction = _fraction(settings, pick_profile(settings, card_targets()))
    if fraction is not None:
        cuda.set_per_process_memory_fraction(fraction, device)


def isolates(settings: HardwareSettings) -> bool:
    """Tell whether stages are to run in processes of their own."""
    if settings.stage_isolation != "auto":
        return settings.stage_isolation == "on"
    return pick_profile(settings, card_targets()).stage_isolation


def profile_facts(settings: HardwareSettings) -> dict[str, Any]:
    """Return the profile as it is used here, for `run.json` and `halo-forge info`."""
    profile = pick_profile(settings, card_targets())
    return {
        "name": profile.name,
        "environment": {name: os.environ.get(name) for name in environment(profile)},
        "memory_fraction": _fraction(settings, profile),
        "stage_isolation": isolates(settings),
        "bf16": settings.bf16,
        "attention": settings.attn_implementation,
    }


def _fraction(settings: HardwareSettings, profile: Profile) -> float | None:
    return profile.memory_fraction if settings.memory_fraction is None else settings.memory_fraction


def _torch_version() -> tuple[int, int]:
    try:
        major, minor, *_ = version("torch").split(".")
    except PackageNotFoundError:
        return _RENAMED
    return int(major), int(minor)
