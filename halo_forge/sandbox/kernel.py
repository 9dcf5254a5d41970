"""Linux system calls that Python's standard library does not offer, one function for each.

Loaded only in the broker and its children (and for probes), never required elsewhere: on other
systems the module imports, and every call raises `OSError`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import struct
from collections.abc import Callable
from typing import Final

__all__ = [
    "CAP_SYS_ADMIN",
    "CLONE_NEWCGROUP",
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "MOUNT_NODEV",
    "MOUNT_NOEXEC",
    "MOUNT_NOSUID",
    "MOUNT_RDONLY",
    "add_path_rule",
    "adopt_orphans",
    "bind",
    "create_ruleset",
    "detach",
    "die_with_parent",
    "drop_all_capabilities",
    "drop_bounding_set",
    "has_capability",
    "load_seccomp",
    "make_private",
    "mount",
    "pivot_root",
    "restrict_self",
    "set_dumpable",
    "set_mount_flags",
    "set_no_new_privileges",
    "setns",
    "unshare",
]

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MOUNT_RDONLY: Final = 1
MOUNT_NOSUID: Final = 2
MOUNT_NODEV: Final = 4
MOUNT_NOEXEC: Final = 8

CAP_SYS_ADMIN: Final = 21

_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(platform.machine(), -1)
_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_ADD_RULE, _SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_RULE_PATH_BENEATH = 1
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 22, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 36, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_SIGKILL = 9
_CAPABILITY_HEADER = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
_NO_CAPABILITIES = bytes(24)

_libc = ctypes.CDLL(None, use_errno=True)


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _declare(name: str, *kinds: type) -> Callable[..., int]:
    """Return a function of the C library that raises `OSError` where it returns -1.

    The kinds of its arguments are told once: to work them out at each call would touch more
    memory, and what a forked child touches is copied.
    """
    function = getattr(_libc, name, None)
    if function is not None:
        function.argtypes = kinds

    def call(*arguments: object) -> int:
        if function is None:
            raise OSError(38, f"{name} does not exist on this system")
        result: int = function(*arguments)
        if result == -1:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")
        return result

    return call


_text, _pointer, _long, _int = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int
_prctl_of_5 = _declare("prctl", _int, _long, _long, _long, _long)
_unshare = _declare("unshare", _int)
_setns = _declare("setns", _int, _int)
_mount = _declare("mount", _text, _text, _text, _long, _text)
_umount2 = _declare("umount2", _text, _int)
_capset = _declare("capset", _pointer, _pointer)
_syscall = _declare("syscall", _long, _pointer, _pointer, _pointer, _pointer, _pointer)


def _prctl(option: int, argument: int = 0, address: int = 0) -> None:
    _prctl_of_5(option, argument, address, 0, 0)


def unshare(flags: int) -> None:
    """Leave shared namespaces.

    See unshare(2), namespaces(7).
    """
    _unshare(flags)


def setns(descriptor: int, kind: int) -> None:
    """Enter the namespace behind ``descriptor``.

    See setns(2).
    """
    _setns(descriptor, kind)


def mount(kind: str, target: str, flags: int = 0, options: str = "") -> None:
    """Mount a new file system of type ``kind``.

    See mount(2), tmpfs(5), proc(5).
    """
    name = kind.encode()
    _mount(name, target.encode(), name, flags, options.encode())


def bind(source: str, target: str) -> None:
    """Show ``source``, with all that is mounted below it, at ``target`` too; see mount(2)."""
    _mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None)


def make_private(target: str) -> None:
    """Stop mounts from propagating in or out; see mount_namespaces(7)."""
    _mount(None, target.encode(), None, _MS_REC | _MS_PRIVATE, None)


def set_mount_flags(target: str, flags: int, *, recursive: bool = False) -> None:
    """Add ``MOUNT_*`` flags to a mount, or to a whole tree of them; see mount_setattr(2)."""
    attributes = struct.pack("=QQQQ", flags, 0, 0, 0)  # set, clear, propagation, user namespace
    depth = _AT_RECURSIVE if recursive else 0
    place = os.fsencode(target)
    _syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, place, depth, attributes, len(attributes))


def detach(target: str) -> None:
    """Unmount ``target`` now and free it when its last user is gone; see umount2(2)."""
    _umount2(os.fsencode(target), _MNT_DETACH)


def pivot_root(new: str, old: str) -> None:
    """Make ``new`` the root and put the former root at ``old``.

    See pivot_root(2).
    """
    _syscall(_SYS_PIVOT_ROOT, new.encode(), old.encode(), 0, 0, 0)


def die_with_parent() -> None:
    """Be killed when the parent dies; see PR_SET_PDEATHSIG(2const)."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants; see PR_SET_CHILD_SUBREAPER(2const)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable(*, dumpable: bool) -> None:
    """Let, or do not let, processes of the same user look in; see PR_SET_DUMPABLE(2const)."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def set_no_new_privileges() -> None:
    """Make set-uid programs powerless from here on; see PR_SET_NO_NEW_PRIVS(2const)."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def load_seccomp(program: bytes) -> None:
    """Filter the system calls of this process and its children; see seccomp(2)."""
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(_filter(program)))


@functools.cache
def _filter(program: bytes) -> ctypes.Structure:
    code = ctypes.create_string_buffer(program, len(program))
    return _SockFprog(len(program) // 8, ctypes.cast(code, ctypes.c_void_p))


def create_ruleset(attributes: bytes, flags: int = 0) -> int:
    """Make a Landlock ruleset and return its descriptor; see landlock_create_ruleset(2).

    Without attributes and with flag 1 it returns the version of the interface instead.
    """
    size = len(attributes)
    return _syscall(_SYS_LANDLOCK_CREATE_RULESET, attributes or None, size, flags, 0, 0)


def add_path_rule(ruleset: int, attributes: bytes) -> None:
    """Allow something below a file or directory; see landlock_add_rule(2)."""
    beneath = _LANDLOCK_RULE_PATH_BENEATH
    _syscall(_SYS_LANDLOCK_ADD_RULE, ruleset, beneath, attributes, 0, 0)


def restrict_self(ruleset: int) -> None:
    """Bind this process and its children to a ruleset; see landlock_restrict_self(2)."""
    _syscall(_SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0, 0, 0)


def drop_bounding_set() -> None:
    """Make it impossible to gain any capability by exec; see capabilities(7)."""
    for capability in range(64):
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError:
            if capability == 0:
                raise
            return


def drop_all_capabilities() -> None:
    """Give up every capability of this process; see capset(2)."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _capset(_CAPABILITY_HEADER, _NO_CAPABILITIES)


def has_capability(capability: int) -> bool:
    """Return whether this process has ``capability`` in effect; see proc_pid_status(5)."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - no pathlib here
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> capability & 1)
    return False
