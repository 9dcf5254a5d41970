"""`SFTConfig` where the specification has it; its defaults live in `halo_forge.config.sft`."""

from __future__ import annotations

from halo_forge.config.sft import SFTConfig

__all__ = ["SFTConfig"]
