"""Process 1 of a run: forks the program, waits, kills all that is left, and reports.

It holds nothing worth stealing. It is told to stop by end of file on its link, reports on the
same link, and reports only after every other process of the run is dead and reaped.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from halo_forge.sandbox import kernel, wire
from halo_forge.sandbox.cell import LINK_FD
from halo_forge.sandbox.children import fork_child
from halo_forge.sandbox.policy import Limits, Step
from halo_forge.sandbox.seccomp import build_filter
from halo_forge.sandbox.worker import Program, Restraint, become

__all__ = [
    "STARVATION_FACTOR",
    "Report",
    "complaining",
    "kill_fenced",
    "kill_group",
    "kill_namespace",
    "kill_user",
    "main",
    "supervise",
]

STARVATION_FACTOR = 8
"""How many times its wall-clock limit a run may take while the machine does not let it run.

After that nothing can be said of the program.
"""

_GROUP_PATIENCE = 2.0
_USER_PATIENCE = 20.0
_LOOK_AGAIN = 0.5

_Killer = Callable[[int], int]
"""Kills every process of the run, given the program's id; returns how many it reaped."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the supervisor saw.

    Attributes:
        code: Exit code of the program, when it exited.
        signal: Signal that ended it, when one did.
        reason: ``ended``, ``timeout``, ``starved`` (the machine hardly let it run), or
            ``stopped`` (told to stop).
        cpu: CPU seconds of all processes of the run.
        wall: Seconds from fork to end.
        rss: Largest resident size in bytes.
        leftovers: Processes killed after the program had ended.
        failure: Why the program could not be started: stage, errno and text; else empty.
    """

    code: int | None
    signal: int | None
    reason: str
    cpu: float
    wall: float
    rss: int
    leftovers: int
    failure: tuple[str, int, str] | tuple[()] = ()


def supervise(
    step: Step,
    restraint: Restraint,
    link: socket.socket,
    kill: _Killer,
    program: Program | None = None,
) -> None:
    """Run ``step`` on this process's standard streams and send a report on ``link``.

    Args:
        step: What to run.
        restraint: What the program gives up.
        link: Tells us to stop by its end, and takes the report.
        kill: Ends all processes of the run.
        program: Begins the program in the child; see `become`.
    """
    bell = _hear_children()
    started = time.monotonic()
    child, failure = _launch(step, restraint, program)
    _let_go_of_streams()
    status, reason = _await(child, link, bell, started, step.limits)
    wall = time.monotonic() - started
    leftovers = kill(child) - (status is None)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = signum = None
    if status is None:
        signum = int(signal.SIGKILL)
    elif os.WIFSIGNALED(status):
        signum = os.WTERMSIG(status)
    else:
        code = os.WEXITSTATUS(status)
    cpu = usage.ru_utime + usage.ru_stime
    rss = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    _send(link, Report(code, signum, reason, cpu, wall, rss, max(0, leftovers), failure))


@contextlib.contextmanager
def complaining(link: socket.socket) -> Iterator[None]:
    """Say on ``link`` why a run could not be prepared, since nobody reads our other streams."""
    try:
        yield
    except OSError as error:
        wire.send(link, {"fault": str(error)})
        raise


def _send(link: socket.socket, report: Report) -> None:
    fields = {name: getattr(report, name) for name in Report.__slots__}
    wire.send(link, fields)


def _hear_children() -> int:
    """Return a descriptor that becomes readable when a child changes state."""
    bell, rope = os.pipe()
    os.set_blocking(bell, False)
    os.set_blocking(rope, False)
    signal.set_wakeup_fd(rope, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return bell


def _launch(
    step: Step, restraint: Restraint, program: Program | None
) -> tuple[int, tuple[str, int, str] | tuple[()]]:
    """Fork the program; return its id and why it could not be started, if so."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        become(step, restraint, writer, program)
    os.close(writer)
    with open(reader, "rb") as stream:  # noqa: PTH123 - a descriptor
        words = stream.read().decode(errors="replace").split("\n", 2)
    return child, (words[0], int(words[1]), words[2]) if len(words) == 3 else ()


def _let_go_of_streams() -> None:
    """Drop the program's pipes, so that only the program keeps them open."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _await(
    program: int, link: socket.socket, bell: int, started: float, limits: Limits
) -> tuple[int | None, str]:
    """Wait for the program, the deadline or an order; return wait status and reason."""
    poller = select.poll()
    poller.register(link, select.POLLIN)
    poller.register(bell, select.POLLIN)
    deadline = started + limits.wall_seconds
    while True:
        status = _reap_the_dead(program)
        if status is not None:
            return status, "ended"
        now = time.monotonic()
        if now >= deadline:
            deadline = started + _time_allowed(program, limits)
            if now >= deadline:
                return None, "timeout"
            if now >= started + limits.wall_seconds * STARVATION_FACTOR:
                return None, "starved"
            deadline = min(deadline, now + _LOOK_AGAIN)
        events = dict(poller.poll(min(deadline - now, 3600.0) * 1000 + 1))
        if link.fileno() in events:
            return None, "stopped"
        if bell in events:
            os.read(bell, 4096)


def _time_allowed(program: int, limits: Limits) -> float:
    """Return how long a run may take, in view of the time the machine did not let it run.

    A process that sleeps waits for nothing, so it gains no time; one that stands in line for a
    core does, as long as the run as a whole has CPU time left.
    """
    wall = limits.wall_seconds
    if os.getpid() == 1:
        names = [path.name for path in Path("/proc").iterdir()]
        everyone = [name for name in names if name.isdigit() and name != "1"]
    else:
        everyone = [str(program), *_descendants(program)]
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = usage.ru_utime + usage.ru_stime + sum(map(_cpu_time, everyone))
    if spent >= limits.cpu:
        return wall
    return wall + max(map(_run_delay, everyone), default=0.0)


def _cpu_time(process: str) -> float:
    """Return the CPU seconds of a living process; see proc_pid_stat(5)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2]
        user, system = fields.split()[11:13]
    except (OSError, ValueError):
        return 0.0
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _run_delay(process: str) -> float:
    """Return how long a process stood in line for a core, from ``/proc/PID/schedstat``."""
    try:
        words = Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()
        return int(words[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _reap_the_dead(program: int) -> int | None:
    """Reap every child that is dead already; return the program's status if it is among them."""
    status = None
    while True:
        try:
            child, word = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if child == 0:
            return status
        if child == program:
            status = word


def kill_namespace(_program: int) -> int:
    """Kill and reap every other process of this PID namespace; see pid_namespaces(7)."""
    if os.getpid() != 1:
        raise RuntimeError("refusing kill(-1) outside a PID namespace of our own")
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return _reap_all(0)


def kill_fenced(_program: int) -> int:
    """Kill and reap all descendants of this process, which a fence around signals tells apart.

    See `landlock.fence_signals`: to have the fence is the caller's business, and is tried here.
    """
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        pass
    else:
        raise RuntimeError("refusing kill(-1) without a fence around it")
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    return _reap_all(0)


def kill_user(user: int) -> int:
    """Kill and reap all descendants of this process: those of ``user``, who has no others.

    Raises:
        RuntimeError: If they would not die.
    """

    def strike() -> None:
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        _kill_quietly(-1)

    reaped, give_up = 0, time.monotonic() + _USER_PATIENCE
    while _has_children():
        if time.monotonic() > give_up:
            raise RuntimeError(f"processes of user {user} would not die")
        os.waitpid(fork_child(strike), 0)  # which they may kill, but only before it strikes
        reaped += _reap_all(os.WNOHANG)
    return reaped


def _reap_all(flags: int) -> int:
    reaped = 0
    while True:
        try:
            child, _ = os.waitpid(-1, flags)
        except ChildProcessError:
            return reaped
        if child == 0:
            return reaped
        reaped += 1


def kill_group(program: int) -> int:
    """Kill the program's process group and, on Linux, the orphans that came to this process.

    For the unsafe backend only: whoever leaves the group and has a live parent escapes for a
    moment, and on other systems than Linux for good.
    """
    reaped, give_up = 0, time.monotonic() + _GROUP_PATIENCE
    while time.monotonic() < give_up:
        _kill_quietly(-program)
        for child in _children(os.getpid()):
            _kill_quietly(child)
        reaped += _reap_all(os.WNOHANG)
        if not _has_children():
            break
        time.sleep(0.001)
    return reaped


def _kill_quietly(target: int) -> None:
    try:
        os.kill(target, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _children(parent: int) -> list[int]:
    try:
        words = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [int(word) for word in words]


def _descendants(parent: int) -> list[str]:
    """Return the children of a process and theirs, as far as their first threads had them."""
    found: list[int] = [parent]
    for process in found:
        found += _children(process)
    return [str(process) for process in found[1:]]


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def main(arguments: Sequence[str]) -> None:
    """Supervise one run inside bubblewrap.

    Args:
        arguments: The step and its restraint as one JSON text.
    """
    kernel.set_dumpable(dumpable=False)
    plan = json.loads(arguments[0])
    restraint = Restraint(
        seccomp=build_filter(),
        niceness=plan["niceness"],
        companions=plan["companions"],
    )
    link = socket.socket(fileno=LINK_FD)
    supervise(wire.decode_step(plan["step"]), restraint, link, kill_namespace)
