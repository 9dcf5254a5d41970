"""Landlock: rules that a process lays upon itself and its children, see landlock(7).

Files are opened, made and removed only where a rule allows it, and signals stay within. What a
kernel offers is told by the version of its interface; the rest is then not refused by Landlock.
"""

from __future__ import annotations

import os
import stat
import struct
from enum import IntFlag

from halo_forge.sandbox import kernel

__all__ = [
    "SCOPES_SINCE",
    "TCP_SINCE",
    "Access",
    "allow",
    "fence_signals",
    "handled",
    "new_ruleset",
    "version",
]

SCOPES_SINCE = 6
"""Version that keeps signals and abstract sockets within (Linux 6.12)."""

TCP_SINCE = 4
"""Version that knows TCP (Linux 6.7)."""


class Access(IntFlag):
    """What can be done to a file or below a directory; see landlock(7)."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15

    READ = READ_FILE | READ_DIR | EXECUTE
    WRITE = WRITE_FILE | TRUNCATE
    CHANGE = WRITE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM | REFER


_TO_FILES = Access.EXECUTE | Access.READ_FILE | Access.WRITE | Access.IOCTL_DEV
_ALWAYS = (1 << 13) - 1
_LATER = {2: Access.REFER, 3: Access.TRUNCATE, 5: Access.IOCTL_DEV}
_TCP = 0b11  # bind and connect
_ABSTRACT_SOCKETS, _SIGNALS = 0b01, 0b10
_ASK_VERSION = 1


def version() -> int:
    """Return the version of the kernel's interface, 0 where it has none or refuses it."""
    try:
        return kernel.create_ruleset(b"", _ASK_VERSION)
    except OSError:
        return 0


def handled(abi: int) -> Access:
    """Return all that version ``abi`` refuses where no rule allows it."""
    later = [access for since, access in _LATER.items() if since <= abi]
    return Access(_ALWAYS | sum(later))


def new_ruleset(abi: int) -> int:
    """Return a ruleset that allows nothing of all that version ``abi`` can refuse."""
    words = [int(handled(abi))]
    if abi >= TCP_SINCE:
        words.append(_TCP)
    if abi >= SCOPES_SINCE:
        words.append(_ABSTRACT_SOCKETS | _SIGNALS)
    return kernel.create_ruleset(struct.pack(f"={len(words)}Q", *words))


def allow(ruleset: int, abi: int, place: int, access: Access) -> None:
    """Allow ``access`` to the file, or to all below the directory, behind a descriptor."""
    access &= handled(abi)
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        access &= _TO_FILES
    kernel.add_path_rule(ruleset, struct.pack("=Qi", access, place))


def fence_signals() -> None:
    """Keep the signals of this process and all its future children among themselves.

    Needs version `SCOPES_SINCE`. After it ``kill(-1)`` reaches exactly the descendants of this
    process, whatever they did to hide, and it does so at one stroke; see kill(2).
    """
    ruleset = kernel.create_ruleset(struct.pack("=3Q", 0, 0, _SIGNALS))
    try:
        kernel.set_no_new_privileges()
        kernel.restrict_self(ruleset)
    finally:
        os.close(ruleset)
