"""The last steps of a process before it becomes the untrusted program."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from halo_forge.sandbox import kernel
from halo_forge.sandbox.policy import ENVIRONMENT, Limits, Step
from halo_forge.sandbox.running import Failure

__all__ = ["Program", "Restraint", "become", "why_not_started"]

_STACK_SOFT, _STACK_HARD = 8 << 20, 64 << 20
_ADDRESS_SPACE_FACTOR = 4
_ERROR_FD = 3


@dataclass(frozen=True, slots=True)
class Restraint:
    """What a worker gives up besides the limits of its step.

    Attributes:
        user: User and group id to become, where the worker starts as root.
        seccomp: Filter program, empty for none.
        privileges: Drop all capabilities and the way to new ones (needs Linux).
        niceness: Added to the priority.
        companions: Trusted processes that the kernel counts with the program's own.
        count_processes: Whether RLIMIT_NPROC counts only this sandbox, so that it can be set.
        cgroup: Descriptor of a ``cgroup.procs`` to enter, or -1.
        confine: What the process does to itself before it closes its descriptors.
        environment: The whole environment of the program.
    """

    user: int | None = None
    seccomp: bytes = b""
    privileges: bool = True
    niceness: int = 0
    companions: int = 0
    count_processes: bool = True
    cgroup: int = -1
    confine: Callable[[], None] | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: ENVIRONMENT)


Program = Callable[[Step], None]
"""Begins a program in this process, in the place of what a step's argv would execute."""


def become(
    step: Step, restraint: Restraint, errors: int, program: Program | None = None
) -> NoReturn:
    """Turn this process into the program of ``step``; on failure say why on ``errors``.

    Args:
        step: What to run.
        restraint: What to give up before.
        errors: Descriptor that is closed when the program begins.
        program: Begins it; the step's argv is executed when absent.
    """
    stage = "setup"
    try:
        try:
            _restrain(step.limits, restraint, errors)
            stage = "exec"
            if program is None:
                os.execvpe(step.argv[0], step.argv, dict(restraint.environment))  # noqa: S606
            os.close(_ERROR_FD)
        except (OSError, ValueError, MemoryError) as error:
            number = getattr(error, "errno", None) or 0
            os.write(_ERROR_FD, f"{stage}\n{number}\n{error}".encode(errors="replace")[:4000])
        else:
            program(step)
    finally:
        os._exit(127)


def why_not_started(said: bytes) -> Failure:
    """Return what `become` said of a program that it could not start, if it said anything."""
    words = said.decode(errors="replace").split("\n", 2)
    return (words[0], int(words[1]), words[2]) if len(words) == 3 else ()


def _restrain(limits: Limits, restraint: Restraint, errors: int) -> None:
    if restraint.cgroup >= 0:
        os.write(restraint.cgroup, b"0")
    if restraint.confine is not None:
        restraint.confine()
    if errors != _ERROR_FD:
        os.dup2(errors, _ERROR_FD, inheritable=False)
    os.closerange(_ERROR_FD + 1, 1 << 16)
    os.setpgid(0, 0)
    _reset_signals()
    os.nice(restraint.niceness)
    _apply_limits(limits, restraint)
    _give_up_identity(restraint)


def _reset_signals() -> None:
    """Undo what the Python interpreter ignores: exec would hand it on, see signal(7)."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _apply_limits(limits: Limits, restraint: Restraint) -> None:
    """Set the limits of getrlimit(2), never above what this process may set.

    RLIMIT_DATA carries the memory budget since it counts what a program really asks for;
    RLIMIT_AS is the belt for shared mappings, and wider because run-times such as Go's reserve
    address space that they never touch.
    """
    cpu = max(1, int(-(-limits.cpu // 1)))
    _limit(resource.RLIMIT_CORE, 0, 0)
    _limit(resource.RLIMIT_CPU, cpu, cpu + 1)
    _limit(resource.RLIMIT_FSIZE, limits.file_size, limits.file_size)
    _limit(resource.RLIMIT_NOFILE, limits.open_files, limits.open_files)
    _limit(resource.RLIMIT_STACK, _STACK_SOFT, _STACK_HARD)
    if hasattr(resource, "RLIMIT_MSGQUEUE"):
        _limit(resource.RLIMIT_MSGQUEUE, 0, 0)
    if restraint.count_processes:
        processes = limits.processes + restraint.companions
        _limit(resource.RLIMIT_NPROC, processes, processes)
    _limit(resource.RLIMIT_DATA, limits.memory, limits.memory)
    space = limits.reserve + limits.memory * _ADDRESS_SPACE_FACTOR
    _limit(resource.RLIMIT_AS, space, space)


def _limit(kind: int, soft: int, hard: int) -> None:
    ceiling = resource.getrlimit(kind)[1]
    if ceiling != resource.RLIM_INFINITY:
        hard = min(hard, ceiling)
    resource.setrlimit(kind, (min(soft, hard), hard))


def _give_up_identity(restraint: Restraint) -> None:
    if restraint.user is not None:
        os.setgroups([])
        os.setresgid(restraint.user, restraint.user, restraint.user)
        os.setresuid(restraint.user, restraint.user, restraint.user)
    if restraint.privileges:
        kernel.drop_all_capabilities()
        kernel.set_no_new_privileges()
    if restraint.seccomp:
        kernel.load_seccomp(restraint.seccomp)
