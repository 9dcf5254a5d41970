"""Who a program is: never root, and nobody else's user either."""

from __future__ import annotations

import os
from pathlib import Path

from halo_forge.sandbox import kernel

__all__ = [
    "INSIDE_USER",
    "is_privileged",
    "map_users",
    "may_change_user",
    "private_user",
    "shed_root",
]

INSIDE_USER = 64001
"""User and group id that a program sees as its own inside a user namespace."""

_MASTERY = (0, 1, 3, 5, 6, 7)  # CAP_CHOWN, _DAC_OVERRIDE, _FOWNER, _KILL, _SETGID, _SETUID
_HIGH_BASE, _LOW_BASE, _LOW_COUNT, _WORKERS = 1 << 30, 60_001, 4_000, 64


def is_privileged() -> bool:
    """Return whether this process can make namespaces without a user namespace."""
    return os.geteuid() == 0 and kernel.has_capability(kernel.CAP_SYS_ADMIN)


def may_change_user() -> bool:
    """Return whether this process can run programs as somebody else, and master their files."""
    return os.geteuid() == 0 and all(map(kernel.has_capability, _MASTERY))


def private_user(index: int) -> int | None:
    """Return a user id that no other worker has, or ``None`` where only one id is mapped.

    RLIMIT_NPROC counts by user, see getrlimit(2). The id is unique for every living broker
    where the range allows; containers often map only 65536 ids, there two brokers might meet.
    """
    number = os.getppid() * _WORKERS + index % _WORKERS
    choices = (_HIGH_BASE + number % _HIGH_BASE, _LOW_BASE + number % _LOW_COUNT)
    return next(filter(_is_mapped, choices), None)


def _is_mapped(user: int) -> bool:
    lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    ranges = [tuple(map(int, line.split())) for line in lines]
    return any(inside <= user < inside + count for inside, _, count in ranges)


def shed_root(user: int | None) -> None:
    """Become ``user`` for good, if this process is root and can; see credentials(7).

    Inside a user namespace made by root the programs would be root to the kernel's process
    accounting, which never limits root.
    """
    if os.geteuid() == 0 and user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        kernel.set_dumpable(dumpable=True)  # else /proc/self would still belong to root
        kernel.die_with_parent()  # a change of user resets it


def map_users(user: int, group: int) -> None:
    """Map ``user`` and ``group`` to `INSIDE_USER` in this new namespace; user_namespaces(7)."""
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{INSIDE_USER} {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{INSIDE_USER} {group} 1", encoding="ascii")
