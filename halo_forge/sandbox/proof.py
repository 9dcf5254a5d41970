"""Trying the guarantees of a sandbox: a hostile job at its opening, on every backend alike."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox.base import Sandbox
from halo_forge.sandbox.paths import python_executable
from halo_forge.sandbox.policy import Guarantee, Job, JobResult, Level, Limits, Step

__all__ = ["prove"]

_PROBE = b"""
import json, os, socket, sys
canary, port, unix, processes = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
places = [os.environ["TMPDIR"], "/tmp", "/dev/shm", "/var/tmp"]
marks = [place + "/" + os.path.basename(canary) + ".mark" for place in places]
def attempt(action):
    try:
        action()
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""
def write(path):
    with open(path, "w") as stream:
        stream.write("x")
def fork_all():
    while len(children) < 2 * processes:
        child = os.fork()
        if child == 0:
            os.setsid()
            os.read(gate, 1)
            os._exit(0)
        children.append(child)
children, (gate, key) = [], os.pipe()
found = {
    "left": sum(map(os.path.exists, marks)),
    "connect": attempt(lambda: socket.create_connection(("127.0.0.1", port), 1)),
    "unix": attempt(lambda: socket.socket(socket.AF_UNIX).connect(unix)),
    "read": attempt(lambda: open(canary)),
    "write": attempt(lambda: write("/usr/halo-forge-probe")),
    "box": attempt(lambda: write("probe-was-here")),
    "fork": attempt(fork_all),
    "children": len(children),
    "environment": len(os.environ),
}
for mark in marks:
    attempt(lambda: write(mark))
print(json.dumps(found))
"""
_PROCESSES = 6
_LIMITS = Limits(cpu=5.0, processes=_PROCESSES)


def prove(sandbox: Sandbox) -> tuple[Guarantee, ...]:
    """Run a hostile job twice and return the guarantees with what it found.

    A guarantee that does not hold when tried is reported as ``none``, whatever the backend
    says. Where nothing confines the program it is a harmless one.

    Raises:
        SandboxFault: If even an honest program does not run.
    """
    if all(guarantee.level is Level.NONE for guarantee in sandbox.guarantees()):
        _found(sandbox.run(Job(runs=(Step((python_executable(), "-c", "print({})")),))))
        return sandbox.guarantees()
    with _bait() as bait:
        argv = (python_executable(), "-I", "-S", "probe.py", *bait, str(_PROCESSES))
        step = Step(argv, limits=_LIMITS)
        result = sandbox.run(Job({"probe.py": _PROBE}, runs=(step, step)))
    found = _found(result)
    left = result.runs[1].leftovers
    return tuple(_tried(guarantee, found, left) for guarantee in sandbox.guarantees())


@contextmanager
def _bait() -> Iterator[tuple[str, str, str]]:
    """Offer a file, a listening port and a listening socket file of the host."""
    with (
        tempfile.TemporaryDirectory(prefix="halo-forge-bait-") as folder,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        place = Path(folder)
        canary, door = place / place.name, place / "socket"
        canary.write_text("bait", encoding="ascii")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(door))
            listener.listen()
            for path, mode in ((place, 0o755), (canary, 0o644), (door, 0o777)):
                path.chmod(mode)
            yield str(canary), str(server.getsockname()[1]), str(door)


def _found(result: JobResult) -> Mapping[str, Any]:
    last = result.runs[-1]
    if not all(outcome.ok for outcome in result.runs):
        text = last.stderr.decode(errors="replace").strip()[-500:]
        raise SandboxFault(f"an honest program ended with {last.status}: {text}")
    found: Mapping[str, Any] = json.loads(last.stdout)
    return found


def _network(found: Mapping[str, Any], _: int) -> tuple[bool, str]:
    text = f"connect to 127.0.0.1: {found['connect'] or 'worked'}"
    text += f", to a socket file: {found['unix'] or 'worked'}"
    return bool(found["connect"] and found["unix"]), text


def _files(found: Mapping[str, Any], _: int) -> tuple[bool, str]:
    text = (
        f"read a host file: {found['read'] or 'worked'}; write /usr: {found['write'] or 'worked'}"
    )
    return bool(found["read"] and found["write"] and found["box"]), text


def _tree_kill(_: Mapping[str, Any], leftovers: int) -> tuple[bool, str]:
    return leftovers > 0, f"{leftovers} forked processes left, killed and reaped"


def _processes(found: Mapping[str, Any], _: int) -> tuple[bool, str]:
    count = found["children"]
    return count < _PROCESSES, f"limit {_PROCESSES}: {count} forks, then {found['fork'] or 'more'}"


def _other_samples(found: Mapping[str, Any], _: int) -> tuple[bool, str]:
    seen = "seen" if found["left"] else "not seen"
    return not found["left"], f"files in temporary places were {seen} by the next run"


_TRIALS: Mapping[str, Callable[[Mapping[str, Any], int], tuple[bool, str]]] = {
    "network": _network,
    "files": _files,
    "tree_kill": _tree_kill,
    "processes": _processes,
    "other_samples": _other_samples,
}


def _tried(guarantee: Guarantee, found: Mapping[str, Any], leftovers: int) -> Guarantee:
    trial = _TRIALS.get(guarantee.name)
    if trial is None or guarantee.level is Level.NONE:
        return guarantee
    holds, text = trial(found, leftovers)
    return replace(guarantee, level=guarantee.level if holds else Level.NONE, proof=text)
