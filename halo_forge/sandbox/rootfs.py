"""The file system that programs see: toolchains read-only, a few devices, and empty places."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from halo_forge.sandbox import kernel
from halo_forge.sandbox.kernel import MOUNT_NODEV, MOUNT_NOEXEC, MOUNT_NOSUID, MOUNT_RDONLY
from halo_forge.sandbox.policy import BOX

__all__ = ["KEPT", "enter_root", "mount_box", "mount_private_places"]

_STAGE = Path("/sys")
"""Exists everywhere and holds nothing a program needs, so the new root can grow on top of it."""

_DEVICES = ("null", "zero", "full", "random", "urandom")
_LINKS = {
    "dev/fd": "/proc/self/fd",
    "dev/stdin": "/proc/self/fd/0",
    "dev/stdout": "/proc/self/fd/1",
    "dev/stderr": "/proc/self/fd/2",
    "dev/shm": "/tmp",  # noqa: S108 - one budget for all that a program may write
    "var/tmp": "/tmp",  # noqa: S108
}
_PLAIN = MOUNT_NOSUID | MOUNT_NODEV
_INODES = 4096

KEPT = "/kept"
"""Where programs find what is kept for builds."""


def enter_root(paths: Iterable[str], kept: Path) -> bool:
    """Build the root from ``paths`` and enter it for good; return whether /proc could be mounted.

    Programs see the folder ``kept`` at `KEPT`. See mount_namespaces(7) and pivot_root(2). The /proc
    mounted here belongs to the worker's PID namespace; inside a user namespace the kernel lets a
    run mount its own only while another full one is visible, see user_namespaces(7).
    """
    kernel.make_private("/")
    kernel.mount("tmpfs", str(_STAGE), _PLAIN, "size=1m,mode=755")
    for place in ("box", "tmp", "proc", "dev", "var", "run", "etc", "kept"):
        (_STAGE / place).mkdir()
    for path in paths:
        if os.access(path, os.R_OK):  # a toolchain in a home that this user may not enter
            _show(Path(path))
    _bind(kept, _STAGE / KEPT.lstrip("/"), MOUNT_NOEXEC)
    for device in _DEVICES:
        target = _STAGE / "dev" / device
        target.touch()
        kernel.bind(f"/dev/{device}", str(target))
        kernel.set_mount_flags(str(target), MOUNT_NOSUID | MOUNT_NOEXEC)
    for link, target_name in _LINKS.items():
        (_STAGE / link).symlink_to(target_name)
    proc = _mount_proc(str(_STAGE / "proc"))
    os.chdir(_STAGE)
    kernel.pivot_root(".", ".")
    kernel.detach(".")
    os.chdir("/")
    kernel.set_mount_flags("/", MOUNT_RDONLY)
    return proc


def _show(path: Path) -> None:
    target = _STAGE / path.relative_to("/")
    if path.is_symlink():
        target.symlink_to(path.readlink())
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    _bind(path, target)


def _bind(path: Path, target: Path, more: int = 0) -> None:
    kernel.bind(str(path), str(target))
    kernel.set_mount_flags(str(target), MOUNT_RDONLY | _PLAIN | more, recursive=True)


def _mount_proc(target: str) -> bool:
    try:
        kernel.mount("proc", target, _PLAIN | MOUNT_NOEXEC)
    except OSError:
        return False
    return True


def mount_box(size: int, user: int) -> None:
    """Mount an empty box of ``size`` bytes that belongs to ``user``; see tmpfs(5)."""
    options = f"size={size},nr_inodes={_INODES},mode=755,uid={user},gid={user}"
    kernel.mount("tmpfs", BOX, _PLAIN, options)


def mount_private_places(disk: int, *, writable_box: bool) -> None:
    """Give the run of this mount namespace an empty /tmp, its own /proc, and its box."""
    kernel.mount("tmpfs", "/tmp", _PLAIN, f"size={disk},nr_inodes={_INODES},mode=1777")  # noqa: S108
    if not _mount_proc("/proc"):
        kernel.mount("tmpfs", "/proc", _PLAIN | MOUNT_RDONLY, "size=4k,mode=555")
    if not writable_box:
        kernel.set_mount_flags(BOX, MOUNT_RDONLY)
    with suppress(OSError):
        os.chdir(BOX)
