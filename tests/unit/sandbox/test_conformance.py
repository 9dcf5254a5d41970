"""The shipped conformance suite on every backend of this machine."""

from __future__ import annotations

import pytest

from halo_forge.sandbox.base import Sandbox
from halo_forge.sandbox.conformance import CHECKS, Check, applies


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_backend_conforms(sandbox: Sandbox, check: Check) -> None:
    """The backend has the property, wherever it claims the guarantee that it rests on."""
    if not applies(check, sandbox):
        pytest.skip(f"{sandbox.backend} does not claim {', '.join(check.needs)}")
    check.run(sandbox)
