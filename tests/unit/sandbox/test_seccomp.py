"""The filter, run by an interpreter of the kernel's little machine, on every architecture."""

from __future__ import annotations

import struct

import pytest

from halo_forge.sandbox.seccomp import DENIED, build_filter

_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}
_ALLOW, _KILL, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026


def _decide(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """Run the filter for one system call, as in the kernel's seccomp_data and classic BPF."""
    program = build_filter(machine)
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
        holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[code]
        position += if_true if holds else if_false


@pytest.mark.parametrize("machine", _ARCH)
def test_denied_calls_fail(machine: str) -> None:
    """Every call of the list is refused, and its neighbours by number are not by accident."""
    numbers = {pair[_COLUMN[machine]] for pair in DENIED.values()} - {-1}
    special = {_number(machine, name) for name in ("clone", "clone3", "socket")}
    special |= {_number(machine, name) for name in ("ioctl", "personality", "prlimit64")}
    for number in range(500):
        if number in special:
            continue
        expected = _EPERM if number in numbers else _ALLOW
        assert _decide(machine, number) == expected, number


def _number(machine: str, name: str) -> int:
    table = {
        "clone": (56, 220),
        "clone3": (435, 435),
        "socket": (41, 198),
        "ioctl": (16, 29),
        "personality": (135, 92),
        "prlimit64": (302, 261),
    }
    return table[name][_COLUMN[machine]]


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
    ],
)
def test_arguments_decide(
    machine: str, name: str, arguments: tuple[int, ...], verdict: int
) -> None:
    """Calls that are harmless or not by their arguments are told apart."""
    assert _decide(machine, _number(machine, name), *arguments) == verdict


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
