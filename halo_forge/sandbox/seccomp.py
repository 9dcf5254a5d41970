"""The system calls that a confined program may not make, as a filter for seccomp(2).

A deny-list, not an allow-list: namespaces do the confining, the filter takes away the parts of
the kernel that leak around them (keyrings, vsock, io_uring), that could undo them (new
namespaces, mounts), that reach into other processes, or that tell what others do to a file both
can open (locks, leases, watches). Deny-lists age better across C libraries and language
runtimes. Everything denied fails with EPERM, except ``clone3``, whose flags lie in memory where
a filter cannot look: ENOSYS makes the C library fall back to clone.
"""

from __future__ import annotations

import platform
import struct
from typing import Final

__all__ = ["DENIED", "DENIED_AS_SAME_USER", "DENIED_ON_HOST", "build_filter"]

DENIED: Final[dict[str, tuple[int, int]]] = {
    # name: (x86-64, aarch64); -1 where the architecture has no such call
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "modify_ldt": (154, -1),
    "vhangup": (153, 58),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "semget": (64, 190),
    "shmget": (29, 194),
    "flock": (73, 32),
    "inotify_init": (253, -1),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
}

DENIED_ON_HOST: Final[dict[str, tuple[int, int]]] = {
    # also denied where the program shares the host's namespaces
    "connect": (42, 203),
    "bind": (49, 200),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_unlink": (241, 181),
    "utime": (132, -1),
    "utimes": (235, -1),
    "futimesat": (261, -1),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}

DENIED_AS_SAME_USER: Final[dict[str, tuple[int, int]]] = {
    # also denied where, besides, it runs as the user of everything else
    "chmod": (90, -1),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, -1),
    "fchown": (93, 55),
    "lchown": (94, -1),
    "fchownat": (260, 54),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
}

_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN: Final = {"x86_64": 0, "aarch64": 1}
_ONE_OF_TWO: Final[dict[str, tuple[int, int]]] = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "socket": (41, 198),
    "ioctl": (16, 29),
    "personality": (135, 92),
    "prlimit64": (302, 261),
    "fcntl": (72, 25),
    "socketpair": (53, 199),
    "utimensat": (280, 88),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setscheduler": (144, 119),
}

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AND = 0x54
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_X32_BIT = 0x40000000
_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW* that clone(2) takes
_AF_UNIX, _SCHED_OTHER = 1, 0
_LOCKS_AND_WATCHES = (5, 36, 1024, 1026)  # F_GETLK, F_OFD_GETLK, F_SETLEASE, F_NOTIFY
_SOCKET_KIND, _DATAGRAM_BIT = 0xF, 0x2  # SOCK_STREAM is 1, _DGRAM 2, _RAW 3, _SEQPACKET 5
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PERSONALITIES = (0x0, 0x0040000, 0xFFFFFFFF)  # default, ADDR_NO_RANDOMIZE, "tell me"


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _load(offset: int) -> bytes:
    return _instruction(_LOAD, offset)


def _argument(index: int) -> bytes:
    """Load the low half of an argument; every one looked at here is an int to the kernel."""
    return _load(16 + 8 * index)


def _refuse(number: int = _EPERM) -> bytes:
    return _instruction(_RETURN, _ERRNO | number)


def _allow() -> bytes:
    return _instruction(_RETURN, _ALLOW)


def _for_call(number: int, body: bytes) -> bytes:
    """Run ``body``, which must return, when the loaded call is ``number``; else go on."""
    return _instruction(_JUMP_EQUAL, number, 0, len(body) // 8) + body


def _unless_argument(index: int, allowed: tuple[int, ...]) -> bytes:
    checks = b"".join(_instruction(_JUMP_EQUAL, value, 0, 1) + _allow() for value in allowed)
    return _argument(index) + checks + _refuse()


def _if_argument(index: int, refused: tuple[int, ...]) -> bytes:
    checks = b"".join(_instruction(_JUMP_EQUAL, value, 0, 1) + _refuse() for value in refused)
    return _argument(index) + checks + _allow()


def _if_bits(index: int, bits: int) -> bytes:
    return _argument(index) + _instruction(_JUMP_ANY_BIT, bits, 0, 1) + _refuse() + _allow()


def _header(machine: str) -> bytes:
    arch = _load(4) + _instruction(_JUMP_EQUAL, _AUDIT_ARCH[machine], 1, 0)
    program = arch + _instruction(_RETURN, _KILL) + _load(0)
    if machine == "x86_64":
        program += _instruction(_JUMP_AT_LEAST, _X32_BIT, 0, 1) + _instruction(_RETURN, _KILL)
    return program


def _for_host(number: dict[str, int]) -> list[bytes]:
    """Leave of sockets only pairs, and of file times only those of an open file.

    A datagram socket could be given any address by sendmsg(2), which a filter cannot see.
    """
    pair = _argument(1) + _instruction(_AND, _SOCKET_KIND)
    pair += _instruction(_JUMP_ANY_BIT, _DATAGRAM_BIT, 0, 1) + _refuse()
    pair += _unless_argument(0, (_AF_UNIX,))
    by_path = _load(16 + 8 + 4) + _instruction(_JUMP_EQUAL, 0, 1, 0) + _refuse()
    by_path += _unless_argument(1, (0,))
    return [
        _for_call(number["socket"], _refuse()),
        _for_call(number["socketpair"], pair),
        _for_call(number["utimensat"], by_path),
    ]


def build_filter(
    machine: str | None = None, *, on_host: bool = False, same_user: bool = False
) -> bytes:
    """Return the filter for ``machine`` (default: this one), or ``b""`` if there is none.

    Calls of a foreign architecture (32-bit, x32) kill the process: their numbers would mean
    other calls.

    Args:
        machine: Architecture as uname(2) names it.
        on_host: The program is in the host's namespaces, so that sockets, System V objects and
            attributes of its files are within reach.
        same_user: Besides, it runs as the user of everything else.
    """
    machine = platform.machine() if machine is None else machine
    if machine not in _AUDIT_ARCH:
        return b""
    column = _COLUMN[machine]
    number = {name: pair[column] for name, pair in _ONE_OF_TWO.items()}
    special = [
        _for_call(number["clone"], _if_bits(0, _NEW_NAMESPACES)),
        _for_call(number["clone3"], _refuse(_ENOSYS)),
        _for_call(number["socket"], _unless_argument(0, (_AF_UNIX,))),
        _for_call(number["ioctl"], _if_argument(1, (_TIOCSTI, _TIOCLINUX))),
        _for_call(number["personality"], _unless_argument(0, _PERSONALITIES)),
        _for_call(number["prlimit64"], _unless_argument(0, (0,))),
        _for_call(number["fcntl"], _if_argument(1, _LOCKS_AND_WATCHES)),
    ]
    names = dict(DENIED)
    if on_host:
        special = [*_for_host(number), *special]
        names |= DENIED_ON_HOST
    if same_user:
        special += [
            _for_call(number["sched_setaffinity"], _unless_argument(0, (0,))),
            _for_call(number["sched_setattr"], _unless_argument(0, (0,))),
            _for_call(number["sched_setscheduler"], _unless_argument(1, (_SCHED_OTHER,))),
        ]
        names |= DENIED_AS_SAME_USER
    plain = [_for_call(pair[column], _refuse()) for pair in names.values() if pair[column] != -1]
    return _header(machine) + b"".join(special) + b"".join(plain) + _allow()
