"""The best backend: Linux namespaces of our own, as root or in a user namespace.

A worker lives in mount, PID, network, IPC, UTS and cgroup namespaces of its own, with a
read-only root; each run adds a nested PID and mount namespace, and what else would be shared is
refused by the filter. See namespaces(7).
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NoReturn

from halo_forge.sandbox import kernel
from halo_forge.sandbox.cell import KEPT_FD, LINK_FD, Cell, CellSettings, Streams
from halo_forge.sandbox.cgroup import MemoryGroup
from halo_forge.sandbox.children import fork_child
from halo_forge.sandbox.family import Family
from halo_forge.sandbox.identity import (
    INSIDE_USER,
    is_privileged,
    map_users,
    private_user,
    shed_root,
)
from halo_forge.sandbox.nursery import Nursery, Orders
from halo_forge.sandbox.policy import BOX, Guarantee, Job, Level, Step, Warm
from halo_forge.sandbox.rootfs import (
    KEPT,
    enter_root,
    mount_box,
    mount_private_places,
)
from halo_forge.sandbox.running import Run, Trouble
from halo_forge.sandbox.scratch import place_files
from halo_forge.sandbox.seccomp import build_filter
from halo_forge.sandbox.shelf import SHOWN, Shelf, make_folder
from halo_forge.sandbox.slot import serve
from halo_forge.sandbox.worker import (
    Begin,
    Restraint,
    become,
    executing,
    inherit_signals,
    limit_rows,
)
from halo_forge.utils.typing import override

__all__ = ["NamespaceCell", "enter_namespaces"]

_SHARED_NO_MORE = (
    kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
    | kernel.CLONE_NEWPID
)
_COMPANIONS_IN_USER_NAMESPACE = 3  # launcher, worker and process 1 are the same user to it
_PROCESS_COUNT_PER_NAMESPACE = (5, 14)
_BOX_SLACK = 1 << 20
_OWN_SHELVES = 8  # as if there were so many workers


def enter_namespaces(settings: CellSettings, channel: socket.socket, lifeline: int) -> None:
    """Serve ``channel`` from process 1 of new namespaces; return when that process has ended.

    The calling process stays outside as the launcher: when it dies, the worker dies with it,
    and with process 1 all that lives in its namespace.
    """
    cell = NamespaceCell(settings)
    try:
        cell.unshare()
    except OSError as error:
        cell.refusal = str(error)

    def work() -> None:
        kernel.die_with_parent()
        serve(cell, channel, lifeline)

    worker = fork_child(work)
    channel.close()
    os.waitpid(worker, 0)
    cell.close_group()


class NamespaceCell(Cell):
    """One worker in namespaces of its own.

    Attributes:
        refusal: Why the kernel refused the namespaces; empty when it did not.
    """

    def __init__(self, settings: CellSettings) -> None:
        self.refusal = ""
        self.box = Path(BOX)
        self._settings = settings
        user = private_user(settings.index)
        self._privileged = is_privileged() and user is not None
        self._user = INSIDE_USER if user is None or not self._privileged else user
        self._filter = build_filter()
        self._group = MemoryGroup.create()
        self._counted = _counts_processes(privileged=self._privileged)
        self._restraint = Restraint(
            user=self._user if self._privileged else None,
            seccomp=self._filter,
            niceness=settings.niceness,
            cgroup=-1 if self._group is None else KEPT_FD,
        )
        self._home_pid_namespace = -1
        self._nursery: Nursery | None = None
        self._disk = 0
        self._shelf = Path(settings.scratch, "shelf")
        self._room = settings.shelf_room

    def unshare(self) -> None:
        """Leave the host's namespaces; children of this process will be in the new ones."""
        self._make_shelf()
        if not self._privileged:
            shed_root(private_user(self._settings.index))
            user, group = os.geteuid(), os.getegid()
            kernel.unshare(kernel.CLONE_NEWUSER)
            map_users(user, group)
        kernel.unshare(_SHARED_NO_MORE)

    def _make_shelf(self) -> None:
        """Make the shelf of all workers, or one of its own for a worker with a user of its own."""
        user = private_user(self._settings.index)
        if self._privileged or os.geteuid() != 0 or user is None:
            make_folder(self._shelf)
            return
        self._shelf = self._shelf.with_name(f"shelf-{self._settings.index}")
        self._room //= _OWN_SHELVES
        self._shelf.parent.chmod(0o711)
        make_folder(self._shelf, user)

    def close_group(self) -> None:
        """Remove the memory group from the host."""
        if self._group is not None:
            self._group.close()

    @override
    def open(self) -> tuple[Guarantee, ...]:
        """Enter the confinement; see `Cell.open`."""
        if self.refusal:
            raise Trouble(self.refusal)
        socket.sethostname("sandbox")
        self._home_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self.shelf = Shelf(self._shelf, KEPT, self._room)
        kernel.unshare(kernel.CLONE_NEWNS)  # not before: the launcher keeps the host's files
        has_proc = enter_root(self._settings.paths, self._shelf / SHOWN)
        kernel.drop_bounding_set()
        kernel.set_dumpable(dumpable=False)
        keep = [] if self._group is None else [self._group.entrance]
        keep.append(self._home_pid_namespace)
        inherit_signals()
        self._nursery = Nursery(self._home_pid_namespace, self._become, keep)
        return self._promises(has_proc=has_proc)

    def _promises(self, *, has_proc: bool) -> tuple[Guarantee, ...]:
        strict, how = Level.ENFORCED, "mount namespace, read-only root"
        seccomp = " and seccomp" if self._filter else ""
        group, counted = self._group, self._counted
        rows = (
            ("network", strict, f"network namespace{seccomp}"),
            ("files", strict, how if has_proc else f"{how}, /proc empty"),
            ("tree_kill", strict, "PID namespace"),
            (
                "memory_sum",
                Level.PARTIAL if group is None else strict,
                "limit per process" if group is None else group.description,
            ),
            ("processes", strict if counted else Level.NONE, "RLIMIT_NPROC"),
            ("disk", strict, "sized tmpfs"),
            ("other_samples", strict, f"PID and mount namespace for each run{seccomp}"),
        )
        return tuple(Guarantee(name, level, by, "not tried") for name, level, by in rows)

    @override
    def place(self, job: Job) -> None:
        """Put the files of ``job`` in a new box."""
        self._disk = max((step.limits.disk for step in job.steps), default=0)
        content = sum(len(data) + 4096 for data in job.files.values())
        mount_box(self._disk + content + _BOX_SLACK, self._user)
        place_files(Path(BOX), job, cold=self._nursery is None)

    @override
    def start(
        self, step: Step, streams: Streams, *, writable: bool, warm: Warm | None = None
    ) -> Run:
        """Start ``step``; see `Cell.start`."""
        if self._group is not None:
            self._group.limit(step.limits.memory + self._disk)
        nursery = self._nursery
        companions = 0
        if not self._privileged:
            companions = _COMPANIONS_IN_USER_NAMESPACE + (nursery.processes if nursery else 0)
        rows = limit_rows(step.limits, companions=companions, processes=self._counted)
        orders = Orders(step.argv, rows, step.limits.disk)
        if nursery is not None and warm is not None and not writable:
            return nursery.start(warm, orders, streams)
        begin = executing(step.argv)

        def work(errors: int) -> None:
            self._become(begin, orders, streams, errors, writable=writable)

        return Family(self._home_pid_namespace, work)

    def _become(
        self, begin: Begin, orders: Orders, streams: Streams, errors: int, *, writable: bool = False
    ) -> NoReturn:
        """Become a program, in a child that is in a PID namespace of its own."""
        group = self._group
        streams.install(errors, *([] if group is None else [group.entrance]))

        def seclude() -> None:
            # Making one costs as much as a fork; the filter lets nobody make what would be in it.
            kernel.unshare(kernel.CLONE_NEWNS | (0 if self._filter else kernel.CLONE_NEWIPC))
            mount_private_places(orders.disk, writable_box=writable)

        become(begin, orders.limits, self._restraint, LINK_FD, seclude)

    @override
    def clear(self) -> None:
        """Throw the box away."""
        kernel.detach(BOX)

    @override
    def out_of_memory(self) -> bool:
        """Return whether the memory group had to kill."""
        return self._group is not None and self._group.killed_since_last_look()


def _counts_processes(*, privileged: bool) -> bool:
    """Return whether RLIMIT_NPROC counts this worker's processes apart from all others.

    As root every worker has a user of its own; in a user namespace only newer kernels count by
    namespace, older ones would count all processes of the real user.
    """
    release = os.uname().release.split("-")[0].split(".")
    version = tuple(int(word) for word in release[:2] if word.isdigit())
    return privileged or version >= _PROCESS_COUNT_PER_NAMESPACE
