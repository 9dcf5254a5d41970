"""Ways to kill all processes of a run and to reap them, by what sets them apart from others."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from halo_forge.sandbox.children import fork_child

__all__ = ["kill_fenced", "kill_group", "kill_namespace", "kill_user", "reap_the_dead"]

_GROUP_PATIENCE = 2.0
_USER_PATIENCE = 20.0


def reap_the_dead(program: int = 0) -> int | None:
    """Reap every child that is dead already; return the program's status if it is among them."""
    status = None
    while True:
        try:
            child, word = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if child == 0:
            return status
        if child == program:
            status = word


def kill_namespace(_program: int) -> int:
    """Kill and reap every other process of this PID namespace; see pid_namespaces(7)."""
    if os.getpid() != 1:
        raise RuntimeError("refusing kill(-1) outside a PID namespace of our own")
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return _reap_all(0)


def kill_fenced(_program: int) -> int:
    """Kill and reap all descendants of this process, which a fence around signals tells apart.

    See `landlock.fence_signals`: to have the fence is the caller's business, and is tried here.
    """
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        pass
    else:
        raise RuntimeError("refusing kill(-1) without a fence around it")
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    return _reap_all(0)


def kill_user(user: int) -> int:
    """Kill and reap all descendants of this process: those of ``user``, who has no others.

    Raises:
        RuntimeError: If they would not die.
    """

    def strike() -> None:
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        _kill_quietly(-1)

    reaped, give_up = 0, time.monotonic() + _USER_PATIENCE
    while _has_children():
        if time.monotonic() > give_up:
            raise RuntimeError(f"processes of user {user} would not die")
        os.waitpid(fork_child(strike), 0)  # which they may kill, but only before it strikes
        reaped += _reap_all(os.WNOHANG)
    return reaped


def _reap_all(flags: int) -> int:
    reaped = 0
    while True:
        try:
            child, _ = os.waitpid(-1, flags)
        except ChildProcessError:
            return reaped
        if child == 0:
            return reaped
        reaped += 1


def kill_group(program: int) -> int:
    """Kill the program's process group and, on Linux, the orphans that came to this process.

    For the unsafe backend only: whoever leaves the group and has a live parent escapes for a
    moment, and on other systems than Linux for good.
    """
    reaped, give_up = 0, time.monotonic() + _GROUP_PATIENCE
    while time.monotonic() < give_up:
        _kill_quietly(-program)
        for child in _children(os.getpid()):
            _kill_quietly(child)
        reaped += _reap_all(os.WNOHANG)
        if not _has_children():
            break
        time.sleep(0.001)
    return reaped


def _kill_quietly(target: int) -> None:
    try:
        os.kill(target, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _children(parent: int) -> list[int]:
    try:
        words = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [int(word) for word in words]


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
