"""What a kind of machine needs to be told, once: the profiles behind `hardware.profile`.

Evidence for each line of `strix-halo` is in docs/howto/set-up.md. What holds on every machine (no
data-loader processes, no pinned memory, bfloat16) is a default of its own setting and not repeated
here. A setting that is given, or a variable that is in the environment already, goes before the
profile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from halo_forge.config.sections import HardwareSettings

__all__ = ["PROFILES", "Profile", "pick_profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """How one kind of machine is used.

    Attributes:
        name: As `hardware.profile` names it.
        environment: Variables that have to be set before torch is imported.
        memory_fraction: Share of the graphics memory that torch may take; None bounds nothing.
        stage_isolation: Whether stages run in processes of their own.
    """

    name: str
    environment: Mapping[str, str]
    memory_fraction: float | None
    stage_isolation: bool


_ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}
"""OpenMP threads that wait for each other awake hold the cores that compilers and tests want, and
are waited for in turn: docs/design/013."""

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "strix-halo": Profile(
            "strix-halo",
            MappingProxyType(
                {
                    **_ASLEEP,
                    "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL": "1",
                    "ROCBLAS_USE_HIPBLASLT": "1",
                    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
                    "FLA_TILELANG": "0",
                }
            ),
            memory_fraction=0.80,
            stage_isolation=True,
        ),
        "cuda": Profile("cuda", MappingProxyType(_ASLEEP), None, stage_isolation=False),
        "cpu": Profile("cpu", MappingProxyType(_ASLEEP), None, stage_isolation=False),
    }
)
"""Every profile. `cuda` is any graphics card with memory of its own, ROCm's included."""

_STRIX = ("gfx1150", "gfx1151", "gfx1152", "gfx1153")


def pick_profile(settings: HardwareSettings, targets: Collection[str | None]) -> Profile:
    """Return the profile that is asked for, or for `auto` the one that fits the cards.

    Args:
        settings: `profile`, and `device`, of which `cpu` makes the cards irrelevant.
        targets: Compiler target of each card: device names do not tell (a Radeon 8060S and an 890M
            are of one family).
    """
    if settings.profile != "auto":
        return PROFILES[settings.profile]
    if not targets or settings.device == "cpu":
        return PROFILES["cpu"]
    return PROFILES["strix-halo" if any(one in _STRIX for one in targets) else "cuda"]
