"""Linux system calls that Python's standard library does not offer, one function for each.

Loaded only in the broker and its children (and for probes), never required elsewhere: on other
systems the module imports, and every call raises `OSError`.
"""

from __future__ import annotations

import ctypes
import os
import platform
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

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _call(name: str, *arguments: object) -> int:
    function = getattr(_libc, name, None)
    if function is None:
        raise OSError(38, f"{name} does not exist on this system")
    result: int = function(*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _prctl(option: int, argument: int = 0, address: object = 0) -> None:
    _call("prctl", option, ctypes.c_ulong(argument), address, ctypes.c_ulong(0), ctypes.c_ulong(0))


def unshare(flags: int) -> None:
    """Leave shared namespaces.

    See unshare(2), namespaces(7).
    """
    _call("unshare", flags)


def setns(descriptor: int, kind: int) -> None:
    """Enter the namespace behind ``descriptor``.

    See setns(2).
    """
    _call("setns", descriptor, kind)


def mount(kind: str, target: str, flags: int = 0, options: str = "") -> None:
    """Mount a new file system of type ``kind``.

    See mount(2), tmpfs(5), proc(5).
    """
    _call(
        "mount",
        kind.encode(),
        target.encode(),
        kind.encode(),
        ctypes.c_ulong(flags),
        options.encode(),
    )


def bind(source: str, target: str) -> None:
    """Show ``source``, with all that is mounted below it, at ``target`` too; see mount(2)."""
    flags = ctypes.c_ulong(_MS_BIND | _MS_REC)
    _call("mount", os.fsencode(source), os.fsencode(target), None, flags, None)


def make_private(target: str) -> None:
    """Stop mounts from propagating in or out; see mount_namespaces(7)."""
    _call("mount", None, target.encode(), None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)


def set_mount_flags(target: str, flags: int, *, recursive: bool = False) -> None:
    """Add ``MOUNT_*`` flags to a mount, or to a whole tree of them; see mount_setattr(2)."""
    attributes = _MountAttr(attr_set=flags)
    _call(
        "syscall",
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        _AT_FDCWD,
        os.fsencode(target),
        _AT_RECURSIVE if recursive else 0,
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def detach(target: str) -> None:
    """Unmount ``target`` now and free it when its last user is gone; see umount2(2)."""
    _call("umount2", os.fsencode(target), _MNT_DETACH)


def pivot_root(new: str, old: str) -> None:
    """Make ``new`` the root and put the former root at ``old``.

    See pivot_root(2).
    """
    _call("syscall", ctypes.c_long(_SYS_PIVOT_ROOT), new.encode(), old.encode())


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
    code = ctypes.create_string_buffer(program, len(program))
    fprog = _SockFprog(len(program) // 8, ctypes.cast(code, ctypes.c_void_p))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(fprog))


def create_ruleset(attributes: bytes, flags: int = 0) -> int:
    """Make a Landlock ruleset and return its descriptor; see landlock_create_ruleset(2).

    Without attributes and with flag 1 it returns the version of the interface instead.
    """
    return _call(
        "syscall",
        ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET),
        attributes or None,
        ctypes.c_size_t(len(attributes)),
        ctypes.c_uint32(flags),
    )


def add_path_rule(ruleset: int, attributes: bytes) -> None:
    """Allow something below a file or directory; see landlock_add_rule(2)."""
    _call(
        "syscall",
        ctypes.c_long(_SYS_LANDLOCK_ADD_RULE),
        ruleset,
        _LANDLOCK_RULE_PATH_BENEATH,
        attributes,
        ctypes.c_uint32(0),
    )


def restrict_self(ruleset: int) -> None:
    """Bind this process and its children to a ruleset; see landlock_restrict_self(2)."""
    _call("syscall", ctypes.c_long(_SYS_LANDLOCK_RESTRICT_SELF), ruleset, ctypes.c_uint32(0))


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
    header = _CapHeader(_CAPABILITY_VERSION_3, 0)
    _call("capset", ctypes.byref(header), (ctypes.c_uint32 * 6)())


def has_capability(capability: int) -> bool:
    """Return whether this process has ``capability`` in effect; see proc_pid_status(5)."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - no pathlib here
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> capability & 1)
    return False
