"""Sandboxes for the tests: each backend this machine offers, opened once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox.backends import CONFINED, UNSAFE, open_backend
from halo_forge.sandbox.client import BrokerSandbox
from tests.needs import lacking

BACKENDS = (*CONFINED, UNSAFE)


@cache
def _open(backend: str) -> BrokerSandbox | str:
    try:
        return open_backend(backend, workers=2)
    except SandboxFault as fault:
        return str(fault)


@pytest.fixture(scope="session", autouse=True)
def _close_all() -> Iterator[None]:
    yield
    for backend in BACKENDS:
        opened = _open(backend) if _open.cache_info().currsize else ""
        if isinstance(opened, BrokerSandbox):
            opened.close()


@pytest.fixture(params=BACKENDS)
def sandbox(request: pytest.FixtureRequest) -> BrokerSandbox:
    opened = _open(request.param)
    if isinstance(opened, str):
        lacking(opened)
    return opened
