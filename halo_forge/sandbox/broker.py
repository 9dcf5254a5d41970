"""The broker: a small process that forks workers, and whose end is the end of all of them.

It is started with next to no environment, before and apart from anything big or secret, since a
fork copies the page tables of its parent and since `/proc/PID/environ` shows for ever what a
process was started with. It holds no jobs: each worker has a channel of its own to the client.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from halo_forge.sandbox import kernel, wire
from halo_forge.sandbox.bubblewrap import BubblewrapCell
from halo_forge.sandbox.cell import Cell, CellSettings
from halo_forge.sandbox.children import fork_child
from halo_forge.sandbox.landlock_cell import LandlockCell
from halo_forge.sandbox.namespaces import enter_namespaces
from halo_forge.sandbox.scratch import erase
from halo_forge.sandbox.slot import serve
from halo_forge.sandbox.unsafe import UnsafeCell

__all__ = ["main"]

_CONTROL_FD = 0
_PATIENCE = 3.0
_CELLS: Mapping[str, Callable[[CellSettings], Cell]] = {
    "bwrap": BubblewrapCell,
    "landlock": LandlockCell,
    "unsafe": UnsafeCell,
}
_LINUX = os.uname().sysname == "Linux"


def main(arguments: Sequence[str]) -> None:
    """Serve orders on the control channel until the client is gone.

    Args:
        arguments: Process id of the client, how far programs step back (nice levels), and the
            directory to remove at the end.
    """
    os.umask(0o022)
    control = _take_control()
    lifeline, hold = os.pipe()
    client = _watch_process(int(arguments[0]))
    _step_back(arguments[1])
    gc.freeze()
    workers: set[int] = set()
    poller = select.poll()
    poller.register(control, select.POLLIN)
    if client >= 0:
        poller.register(client, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poller.poll()}
        if client in ready or not _take_order(control, lifeline, hold, workers):
            break
    os.close(hold)
    _see_off(workers)
    erase(Path(arguments[2]))


def _take_control() -> socket.socket:
    """Return the control channel that came as standard input, and let no child inherit it."""
    control = socket.socket(fileno=os.dup(_CONTROL_FD))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, _CONTROL_FD)
    os.close(null)
    return control


def _watch_process(process: int) -> int:
    """Return a descriptor that becomes readable when ``process`` ends, or -1; see pidfd_open(2).

    End of file on the control channel alone would not do: a forked child of the client may hold
    a copy of its end.
    """
    try:
        return os.pidfd_open(process)
    except (AttributeError, OSError):
        return -1


def _step_back(niceness: str) -> None:
    """Offer this process tree first when memory or cores run short; see sched(7).

    Where sessions are scheduled as groups, the nice level of a process counts within its own only.
    """
    wishes = {"oom_score_adj": "500", "autogroup": niceness}
    for name, value in wishes.items():
        with contextlib.suppress(OSError):
            Path("/proc/self", name).write_text(value, encoding="ascii")


def _take_order(control: socket.socket, lifeline: int, hold: int, workers: set[int]) -> bool:
    """Fork one worker for the channel that came with the order; return False at the end."""
    try:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        order, _ = wire.receive(control)
    except OSError:
        return False
    _bury(workers)

    def work() -> None:
        os.close(hold)
        control.close()
        _work(order, socket.socket(fileno=descriptors[0]), lifeline)

    workers.add(fork_child(work))
    os.close(descriptors[0])
    return True


def _bury(workers: set[int]) -> None:
    """Reap workers that have ended."""
    while workers:
        child, _ = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        workers.discard(child)


def _see_off(workers: set[int]) -> None:
    """Give workers, who see the lifeline cut, a moment to clean up; then kill them."""
    give_up = time.monotonic() + _PATIENCE
    while workers and time.monotonic() < give_up:
        _bury(workers)
        time.sleep(0.002)
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def _work(order: dict[str, Any], channel: socket.socket, lifeline: int) -> None:
    settings = CellSettings(**order["settings"])
    if _LINUX:
        kernel.die_with_parent()
    backend = order["backend"]
    if backend == "namespaces":
        enter_namespaces(settings, channel, lifeline)
    else:
        serve(_CELLS[backend](settings), channel, lifeline)
