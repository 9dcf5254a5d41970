"""The filter, run by an interpreter of the kernel's little machine, on every architecture."""

from __future__ import annotations

import struct

import pytest

from halo_forge.sandbox.seccomp import (
    DENIED,
    DENIED_AS_SAME_USER,
    DENIED_ON_HOST,
    build_filter,
)

_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}
_ALLOW, _KILL, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026


def _decide(
    machine: str, number: int, *arguments: int, arch: int | None = None, **where: bool
) -> int:
    """Run the filter for one system call, as in the kernel's seccomp_data and classic BPF."""
    program = build_filter(machine, **where)
    data = struct.pack("<iI", number, _ARCH[machine] if arch is None else arch) + bytes(8)
    data += b"".join(struct.pack("<Q", a % (1 << 64)) for a in (*arguments, *[0] * 6)[:6])
    accumulator = position = 0
    while True:
        code, if_true, if_false, k = struct.unpack_from("<HBBI", program, 8 * position)
        position += 1
        if code == 0x06:
            return k
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
            continue
        if code == 0x54:
            accumulator &= k
            continue
        holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[code]
        position += if_true if holds else if_false


_HOST, _SAME = {"on_host": True}, {"on_host": True, "same_user": True}


@pytest.mark.parametrize("machine", _ARCH)
@pytest.mark.parametrize(
    ("where", "lists"),
    [
        ({}, (DENIED,)),
        (_HOST, (DENIED, DENIED_ON_HOST)),
        (_SAME, (DENIED, DENIED_ON_HOST, DENIED_AS_SAME_USER)),
    ],
)
def test_denied_calls_fail(
    machine: str, where: dict[str, bool], lists: tuple[dict[str, tuple[int, int]], ...]
) -> None:
    """Every call of the list is refused, and its neighbours by number are not by accident."""
    numbers = {pair[_COLUMN[machine]] for table in lists for pair in table.values()} - {-1}
    special = {_number(machine, name) for name in _NUMBERS}
    for number in range(500):
        if number in special:
            continue
        expected = _EPERM if number in numbers else _ALLOW
        assert _decide(machine, number, **where) == expected, number


_NUMBERS = {
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


def _number(machine: str, name: str) -> int:
    return _NUMBERS[name][_COLUMN[machine]]


@pytest.mark.parametrize("machine", _ARCH)
@pytest.mark.parametrize(
    ("name", "arguments", "verdict"),
    [
        ("clone", (17,), _ALLOW),
        ("clone", (0x3D0F00,), _ALLOW),  # what pthread_create asks for
        ("clone", (0x10000000 | 17,), _EPERM),
        ("clone", (0x20000000,), _EPERM),
        ("clone3", (), _ENOSYS),
        ("socket", (1, 1), _ALLOW),
        ("socket", (2, 1), _EPERM),
        ("socket", (16, 3), _EPERM),
        ("socket", (40, 1), _EPERM),
        ("ioctl", (0, 0x5401), _ALLOW),
        ("ioctl", (0, 0x5412), _EPERM),
        ("ioctl", (0, 0xFFFFFFFF00005412), _EPERM),  # the kernel looks at the low half only
        ("personality", (0xFFFFFFFF,), _ALLOW),
        ("personality", (0x0040000,), _ALLOW),
        ("personality", (0x0400000,), _EPERM),  # READ_IMPLIES_EXEC
        ("prlimit64", (0, 7), _ALLOW),
        ("prlimit64", (1, 0), _EPERM),
        ("fcntl", (3, 6), _ALLOW),  # F_SETLK
        ("fcntl", (3, 5), _EPERM),  # F_GETLK
        ("fcntl", (3, 1024), _EPERM),  # F_SETLEASE
    ],
)
def test_arguments_decide(
    machine: str, name: str, arguments: tuple[int, ...], verdict: int
) -> None:
    """Calls that are harmless or not by their arguments are told apart."""
    assert _decide(machine, _number(machine, name), *arguments) == verdict


@pytest.mark.parametrize("machine", _ARCH)
@pytest.mark.parametrize(
    ("where", "name", "arguments", "verdict"),
    [
        (_HOST, "socket", (1, 1), _EPERM),
        (_HOST, "socketpair", (1, 0x80801), _ALLOW),  # SOCK_STREAM with flags
        (_HOST, "socketpair", (1, 5), _ALLOW),  # SOCK_SEQPACKET
        (_HOST, "socketpair", (1, 2), _EPERM),  # SOCK_DGRAM
        (_HOST, "socketpair", (1, 3), _EPERM),  # SOCK_RAW, which is SOCK_DGRAM to AF_UNIX
        (_HOST, "socketpair", (30, 1), _EPERM),
        (_HOST, "utimensat", (7, 0), _ALLOW),
        (_HOST, "utimensat", (7, 1 << 40), _EPERM),
        (_HOST, "sched_setaffinity", (1,), _ALLOW),
        (_SAME, "sched_setaffinity", (0,), _ALLOW),
        (_SAME, "sched_setaffinity", (1,), _EPERM),
        (_SAME, "sched_setattr", (1,), _EPERM),
        (_SAME, "sched_setscheduler", (1, 0), _ALLOW),  # back to the default, as mono does
        (_SAME, "sched_setscheduler", (0, 5), _EPERM),
    ],
)
def test_on_the_host_more_is_refused(
    machine: str, where: dict[str, bool], name: str, arguments: tuple[int, ...], verdict: int
) -> None:
    """Without namespaces only pairs of sockets are left, and nobody else is slowed down."""
    assert _decide(machine, _number(machine, name), *arguments, **where) == verdict


@pytest.mark.parametrize("machine", _ARCH)
def test_foreign_architectures_are_killed(machine: str) -> None:
    """A 32-bit call would mean another call by its number."""
    assert _decide(machine, 20, arch=0x40000003) == _KILL


def test_x32_is_killed() -> None:
    """The x32 calls of x86-64 come with the same architecture and a bit in the number."""
    assert _decide("x86_64", 0x40000000 | 39) == _KILL


def test_unknown_machines_have_no_filter() -> None:
    """Without a table of numbers there is no filter, rather than a wrong one."""
    assert build_filter("riscv64") == b""
