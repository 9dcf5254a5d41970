"""What is said on a channel to the launcher on the far side (`launch.c`), and what it means."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox.policy import Limits, Outcome, Status

if TYPE_CHECKING:
    from asyncssh import SSHReader

__all__ = ["read_greeting", "read_outcome", "request"]

_GREETING = b"halo-forge launcher "
_GREETING_LINES = 20

_CRASHES = {
    0xC0000005: signal.SIGSEGV,  # access violation
    0xC000001D: signal.SIGILL,
    0xC0000094: signal.SIGFPE,  # integer division by zero
    0xC00000FD: signal.SIGSEGV,  # stack overflow
    0xC0000409: signal.SIGABRT,  # fail fast
}
_FIRST_CRASH = 0xC0000000
_ENDS = {"wall": Status.TIMEOUT, "cpu": Status.CPU_LIMIT, "output": Status.OUTPUT_LIMIT}
_FULL = 0.75
_FIELDS = 8


def request(directory: str, command: str, stdin: bytes, limits: Limits) -> bytes:
    """Return the request to run ``command`` in ``directory``."""
    blobs = (directory.encode(), command.encode(), stdin)
    numbers = (
        round(limits.wall_seconds * 1000),
        round(limits.cpu * 1000),
        limits.memory,
        limits.processes,
        limits.output,
        *map(len, blobs),
    )
    return " ".join(map(str, numbers)).encode() + b"\n" + b"".join(blobs)


async def read_greeting(reader: SSHReader[bytes]) -> None:
    """Read up to the first words of a launcher, which a talkative shell may come before.

    Raises:
        SandboxFault: If it does not say them.
    """
    line = b""
    for _ in range(_GREETING_LINES):
        line = await reader.readline()
        if line.startswith(_GREETING):
            return
        if not line:
            break
    raise SandboxFault(f"the launcher on the far side does not greet, but says {line!r}")


async def read_outcome(reader: SSHReader[bytes], limits: Limits, program: str) -> Outcome:
    """Read the answer to a request.

    Raises:
        SandboxFault: If it is none, or there was no such program.
        EOFError: If the channel ends before it.
    """
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    how, *words = line.decode("ascii", "replace").split()
    if len(words) != _FIELDS - 1 or not all(word.isdigit() for word in words):
        raise SandboxFault(f"the launcher on the far side says {line[:200]!r}")
    code, cpu, wall, peak, leftovers, *sizes = map(int, words)
    if how == "missing":
        raise SandboxFault(f"{program} cannot be started on the far side (error {code})")
    if max(sizes) > limits.output:
        raise SandboxFault("the launcher on the far side sends more than it was asked for")
    stdout, stderr = [await reader.readexactly(size) for size in sizes]
    ended = how == "ended"
    crash = _CRASHES.get(code, signal.SIGSEGV if code >= _FIRST_CRASH else None) if ended else None
    status = _ENDS.get(how) or _status(code, peak, limits, crashed=crash is not None)
    return Outcome(
        status=status,
        code=code if ended and crash is None else None,
        signal=None if crash is None else int(crash),
        stdout=stdout,
        stderr=stderr,
        cpu=cpu / 1000,
        wall=wall / 1000,
        rss=peak,
        leftovers=leftovers,
    )


def _status(code: int, peak: int, limits: Limits, *, crashed: bool) -> Status:
    if code == 0:
        return Status.OK
    if peak >= _FULL * limits.memory:
        return Status.MEMORY_LIMIT
    return Status.CRASH if crashed else Status.NONZERO
