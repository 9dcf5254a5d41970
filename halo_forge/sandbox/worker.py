"""The last steps of a process before it becomes the untrusted program."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from halo_forge.sandbox import kernel
from halo_forge.sandbox.policy import ENVIRONMENT, Limits
from halo_forge.sandbox.running import Failure

__all__ = [
    "Begin",
    "LimitRow",
    "Restraint",
    "become",
    "executing",
    "inherit_signals",
    "limit_rows",
    "now_begun",
    "set_handler",
    "why_not_started",
]

_STACK_SOFT, _STACK_HARD = 8 << 20, 64 << 20
_ADDRESS_SPACE_FACTOR = 4
_ERROR_FD = 3


set_handler: Callable[[int, Any], object] = _signal.signal
"""`signal.signal` without the enumerations that it returns: in a forked child each is a copy."""

Begin = Callable[[], None]
"""Begins the program in this process: executes it, or calls code that is here already."""

LimitRow = tuple[int, int, int]
"""Arguments of setrlimit(2): the resource, its soft and its hard limit."""


@dataclass(frozen=True, slots=True)
class Restraint:
    """What a worker's programs give up, besides the limits of each.

    It is worked out beforehand, since every object that a forked child touches is a page copied.

    Attributes:
        user: User and group id to become, where the worker starts as root.
        seccomp: Filter program, empty for none.
        privileges: Drop all capabilities and the way to new ones (needs Linux).
        niceness: Added to the priority.
        cgroup: Descriptor of a ``cgroup.procs`` to enter, or -1.
    """

    user: int | None = None
    seccomp: bytes = b""
    privileges: bool = True
    niceness: int = 0
    cgroup: int = -1


def become(
    begin: Begin,
    limits: Sequence[LimitRow],
    restraint: Restraint,
    errors: int,
    confine: Begin | None = None,
) -> NoReturn:
    """Turn this process into a program; on failure say why on ``errors``.

    The parent has called `inherit_signals`.

    Args:
        begin: Begins it.
        limits: What it may use, as `limit_rows` gives it.
        restraint: What to give up before.
        errors: Descriptor that is closed when the program begins.
        confine: What the process does to itself before it closes its descriptors.
    """
    stage = "setup"
    try:
        try:
            _restrain(limits, restraint, errors, confine)
            stage = "exec"
            begin()
        except (OSError, ValueError, MemoryError) as error:
            number = getattr(error, "errno", None) or 0
            os.write(_ERROR_FD, f"{stage}\n{number}\n{error}".encode(errors="replace")[:4000])
    finally:
        os._exit(127)


def executing(argv: tuple[str, ...], environment: Mapping[str, str] = ENVIRONMENT) -> Begin:
    """Return what executes ``argv``, and says on the right descriptor why it could not."""
    program, variables = argv[0], dict(environment)
    if "/" in program:
        return lambda: os.execve(program, argv, variables)  # noqa: S606
    return lambda: os.execvpe(program, argv, variables)  # noqa: S606


def now_begun() -> None:
    """Say in the program's process that it begins, where nothing is executed."""
    os.close(_ERROR_FD)


def why_not_started(said: bytes) -> Failure:
    """Return what `become` said of a program that it could not start, if it said anything."""
    words = said.decode(errors="replace").split("\n", 2)
    return (words[0], int(words[1]), words[2]) if len(words) == 3 else ()


def inherit_signals() -> None:
    """Prepare this process so that its children are born with the signals of a fresh program.

    Python ignores some, and exec would hand that on; handlers it does not, see signal(7).
    """
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def limit_rows(limits: Limits, *, companions: int = 0, processes: bool = True) -> list[LimitRow]:
    """Return what getrlimit(2) knows of ``limits``, never above what this process may set.

    RLIMIT_DATA carries the memory budget since it counts what a program really asks for;
    RLIMIT_AS is the belt for shared mappings, and wider because run-times such as Go's reserve
    address space that they never touch.

    Args:
        limits: What a program may use.
        companions: Trusted processes that the kernel counts with the program's own.
        processes: Whether RLIMIT_NPROC counts only this sandbox, so that it can be set.
    """
    cpu = max(1, int(-(-limits.cpu // 1)))
    space = limits.reserve + limits.memory * _ADDRESS_SPACE_FACTOR
    most = limits.processes + companions
    rows = [
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_FSIZE, limits.file_size, limits.file_size),
        (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
        (resource.RLIMIT_STACK, _STACK_SOFT, _STACK_HARD),
        *([(resource.RLIMIT_MSGQUEUE, 0, 0)] if hasattr(resource, "RLIMIT_MSGQUEUE") else []),
        *([(resource.RLIMIT_NPROC, most, most)] if processes else []),
        (resource.RLIMIT_DATA, limits.memory, limits.memory),
        (resource.RLIMIT_AS, space, space),
    ]
    return [_allowed(*row) for row in rows]


def _allowed(kind: int, soft: int, hard: int) -> LimitRow:
    ceiling = resource.getrlimit(kind)[1]
    if ceiling != resource.RLIM_INFINITY:
        hard = min(hard, ceiling)
    return kind, min(soft, hard), hard


def _restrain(
    limits: Sequence[LimitRow], restraint: Restraint, errors: int, confine: Begin | None
) -> None:
    if restraint.cgroup >= 0:
        os.write(restraint.cgroup, b"0")
    if confine is not None:
        confine()
    if errors != _ERROR_FD:
        os.dup2(errors, _ERROR_FD, inheritable=False)
    os.closerange(_ERROR_FD + 1, 1 << 16)
    os.setpgid(0, 0)
    os.nice(restraint.niceness)
    for kind, soft, hard in limits:
        resource.setrlimit(kind, (soft, hard))
    if restraint.user is not None:
        os.setgroups([])
        os.setresgid(restraint.user, restraint.user, restraint.user)
        os.setresuid(restraint.user, restraint.user, restraint.user)
    if restraint.privileges:
        kernel.drop_all_capabilities()
        kernel.set_no_new_privileges()
    if restraint.seccomp:
        kernel.load_seccomp(restraint.seccomp)
