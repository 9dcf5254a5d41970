"""A host with something to steal, and the sandboxes that must keep it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox.backends import CONFINED, open_backend
from halo_forge.sandbox.client import BrokerSandbox
from halo_forge.sandbox.conformance import run_python
from tests.needs import lacking

SECRET = "the-secret-of-the-host-5d1c"


@dataclass(frozen=True)
class Host:
    """What a hostile program would like to read, change or reach."""

    canary: Path
    port: int
    abstract: str

    def unharmed(self) -> bool:
        """The canary is as it was and nothing was planted beside it."""
        names = [path.name for path in self.canary.parent.iterdir()]
        return self.canary.read_text() == SECRET and names == ["canary"]


@dataclass
class Arena:
    """One sandbox with one worker, and the host around it."""

    sandbox: BrokerSandbox
    host: Host
    calm: int = 0

    def processes(self) -> int:
        """How many processes the broker has below it."""
        return len(psutil.Process(self.sandbox.broker_pid).children(recursive=True))

    def assert_unharmed(self) -> None:
        """The next honest program gets its due, and the attack left nothing behind."""
        honest = run_python(self.sandbox, "print(6 * 7)")
        assert (honest.status, honest.stdout) == ("ok", b"42\n")
        give_up = time.monotonic() + 5.0  # a supervisor that has reported is still going down
        while self.processes() != self.calm and time.monotonic() < give_up:
            time.sleep(0.002)
        assert self.processes() == self.calm
        assert self.host.unharmed()


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    canary = folder / "canary"
    canary.write_text(SECRET)
    abstract = f"halo-forge-test-{os.getpid()}"
    with (
        pytest.MonkeyPatch.context() as patch,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        patch.setenv("HALO_FORGE_TEST_SECRET", SECRET)
        unix.bind("\0" + abstract)
        unix.listen()
        for parent in (canary, *canary.parents[:4]):
            if parent.owner() == Path.home().owner() and parent != Path("/tmp"):
                parent.chmod(parent.stat().st_mode | 0o055)
        yield Host(canary, server.getsockname()[1], abstract)


def _moments() -> Iterator[None]:
    """Thirty looks within some time: the sandbox has just been opened and may still settle."""
    for _ in range(30):
        yield
        time.sleep(0.02)


@pytest.fixture(scope="session", params=CONFINED)
def arena(request: pytest.FixtureRequest, host: Host) -> Iterator[Arena]:
    try:
        sandbox = open_backend(request.param, workers=1, background=False)
    except SandboxFault as fault:
        lacking(str(fault))
    with sandbox:
        arena = Arena(sandbox, host)
        arena.calm = min(arena.processes() for _ in _moments())
        yield arena
