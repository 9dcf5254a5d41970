"""Settings of judging answers by hand (`halo-forge verify`)."""

from __future__ import annotations

from halo_forge.config.base import Section
from halo_forge.config.sections import VerifierSettings

__all__ = ["VerifyConfig"]


class VerifyConfig(Section):
    """Who judges answers that are there already."""

    verifier: VerifierSettings = VerifierSettings(type="auto")
