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
    stream: Path
    datagram: Path
    listener: socket.socket

    @property
    def arguments(self) -> tuple[str, ...]:
        """What a hostile program is told, so that it need not search."""
        doors = (self.abstract, str(self.stream), str(self.datagram))
        return (str(self.canary), str(self.port), *doors, str(os.getpid()))

    def unharmed(self) -> bool:
        """The canary is as it was, nothing was planted beside it, and no message has come."""
        names = [path.name for path in self.canary.parent.iterdir()]
        found = self.canary.stat()
        untouched = (found.st_mode & 0o777, found.st_mtime) == (0o644, 1e9)
        try:
            self.listener.recv(1)
        except BlockingIOError:
            return self.canary.read_text() == SECRET and names == ["canary"] and untouched
        return False


@dataclass
class Arena:
    """One sandbox with one worker, and the host around it."""

    sandbox: BrokerSandbox
    host: Host
    calm: int = 0

    def processes(self) -> int:
        """How many processes the broker has below it."""
        return len(psutil.Process(self.sandbox.broker_pid).children(recursive=True))

    def settle(self) -> None:
        """Note how many processes there are when nothing runs: the fewest of thirty looks."""
        looks = []
        for _ in range(30):
            looks.append(self.processes())
            time.sleep(0.02)
        self.calm = min(looks)

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
    canary.chmod(0o644)
    os.utime(canary, (1e9, 1e9))
    doors = tmp_path_factory.mktemp("doors")
    stream, datagram = doors / "stream", doors / "datagram"
    abstract = f"halo-forge-test-{os.getpid()}"
    with (
        pytest.MonkeyPatch.context() as patch,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as door,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
    ):
        patch.setenv("HALO_FORGE_TEST_SECRET", SECRET)
        unix.bind("\0" + abstract)
        unix.listen()
        door.bind(str(stream))
        door.listen()
        listener.bind(str(datagram))
        listener.setblocking(False)
        for path, mode in ((doors, 0o755), (stream, 0o777), (datagram, 0o777)):
            path.chmod(mode)
        for parent in canary.parents[:4]:
            if parent.owner() == Path.home().owner() and parent != Path("/tmp"):
                parent.chmod(parent.stat().st_mode | 0o055)
        yield Host(canary, server.getsockname()[1], abstract, stream, datagram, listener)


@pytest.fixture(scope="session", params=CONFINED)
def arena(request: pytest.FixtureRequest, host: Host) -> Iterator[Arena]:
    try:
        sandbox = open_backend(request.param, workers=1)
    except SandboxFault as fault:
        lacking(str(fault))
    with sandbox:
        arena = Arena(sandbox, host)
        arena.settle()
        yield arena
