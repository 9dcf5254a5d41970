"""The backend for plain Docker and Kubernetes, where no namespace can be made: Landlock, seccomp.

Nothing is hidden, so everything must be forbidden: Landlock refuses every file but the toolchains
and two directories of the run's own, seccomp refuses every socket but pairs. As root each worker's
programs have a user of their own besides. See landlock(7), seccomp(2).
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from halo_forge.sandbox import kernel, landlock
from halo_forge.sandbox.cell import KEPT_FD, LINK_FD, CellSettings, Streams
from halo_forge.sandbox.children import fork_child
from halo_forge.sandbox.directory import DirectoryCell
from halo_forge.sandbox.identity import may_change_user, private_user
from halo_forge.sandbox.killing import kill_fenced, kill_user
from halo_forge.sandbox.landlock import Access
from halo_forge.sandbox.policy import Guarantee, Job, Level, Step, Warm
from halo_forge.sandbox.running import LinkedRun, Run, Trouble
from halo_forge.sandbox.seccomp import build_filter
from halo_forge.sandbox.shelf import SHOWN, Shelf, make_folder
from halo_forge.sandbox.supervisor import complaining, supervise
from halo_forge.sandbox.worker import Restraint, become, executing, limit_rows
from halo_forge.utils.typing import override

__all__ = ["LandlockCell", "count_processes", "promises"]

_OLDEST = 3  # before it, files could be truncated that cannot be opened for writing
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SPARE_PROCESSES = 32


class LandlockCell(DirectoryCell):
    """Programs that may open, connect to and signal next to nothing of a host that they see."""

    def __init__(self, settings: CellSettings) -> None:
        super().__init__(settings)
        self._abi = landlock.version()
        self._user = private_user(settings.index) if may_change_user() else None
        self._filter = build_filter(on_host=True, same_user=self._user is None)
        self._shown: list[tuple[int, Access]] = []
        self._built = False
        self._opened = False
        self._neighbours = 0

    @override
    def open(self) -> tuple[Guarantee, ...]:
        """Enter the confinement; see `Cell.open`."""
        self._refuse_weak_kernels()
        self._base.mkdir(mode=0o700)
        shelf = Path(self._settings.scratch, "shelf")
        make_folder(shelf)
        self.shelf = Shelf(shelf, str(shelf / SHOWN), self._settings.shelf_room)
        if self._user is not None:
            Path(self._settings.scratch).chmod(0o711)
            os.chown(self._base, 0, self._user)
            self._base.chmod(0o710)
        paths = [path for path in self._settings.paths if os.access(path, os.R_OK)]
        self._shown = [(_look_at(path), Access.READ) for path in (*paths, str(shelf / SHOWN))]
        self._shown += [(_look_at(path), Access.READ_FILE | Access.WRITE_FILE) for path in _DEVICES]
        if self._user is None:
            self._neighbours = count_processes() - _all_threads()
        with contextlib.suppress(OSError):
            kernel.drop_bounding_set()
        kernel.adopt_orphans()
        if self._abi >= landlock.SCOPES_SINCE:
            landlock.fence_signals()
        self._opened = True
        return promises(self._abi, private_user=self._user is not None)

    def _refuse_weak_kernels(self) -> None:
        if not self._filter:
            raise Trouble("there is no seccomp filter for this machine")
        if self._abi < _OLDEST:
            raise Trouble(
                f"the kernel offers version {self._abi} of Landlock, and {_OLDEST} is needed: "
                "Linux 6.2, with landlock in /sys/kernel/security/lsm"
            )
        if self._user is None and self._abi < landlock.SCOPES_SINCE:
            raise Trouble(
                f"Landlock's version {self._abi} keeps no signals back, so programs could kill "
                "all processes of this user: start as root, or on Linux 6.12 or newer"
            )

    @override
    def place(self, job: Job) -> None:
        """Put the files of ``job`` in a new box."""
        super().place(job)
        self._built = False
        if self._user is not None:
            os.chown(self.box, 0, self._user)
            self.box.chmod(0o750)

    @override
    def start(
        self, step: Step, streams: Streams, *, writable: bool, warm: Warm | None = None
    ) -> Run:
        """Start ``step``; see `Cell.start`."""
        if self._built:
            _take_over(self.box, self._user)
        self._built = writable
        self._renew_scratch()
        if self._user is not None:
            os.chown(self._scratch, self._user, self._user)
            if writable:
                os.chown(self.box, self._user, self._user)
        ruleset = self._rules(writable=writable)
        try:
            return LinkedRun.fork(lambda link: self._run(step, streams, link, ruleset))
        finally:
            os.close(ruleset)

    def _rules(self, *, writable: bool) -> int:
        """Return a ruleset for one run, whose own directories nobody else's rules name."""
        ruleset = landlock.new_ruleset(self._abi)
        change = Access.READ | Access.CHANGE
        for place, access in self._shown:
            landlock.allow(ruleset, self._abi, place, access)
        own = ((self.box, change if writable else Access.READ), (self._scratch, change))
        for path, access in own:
            place = _look_at(str(path))
            landlock.allow(ruleset, self._abi, place, access)
            os.close(place)
        return ruleset

    def _run(self, step: Step, streams: Streams, report: int, ruleset: int) -> None:
        """Supervise; not killed with the worker, whose end it hears on its link instead."""
        streams.install(report, ruleset)
        link = socket.socket(fileno=LINK_FD)
        with complaining(link):
            kernel.adopt_orphans()
            if self._abi >= landlock.SCOPES_SINCE:
                landlock.fence_signals()
            os.chdir(self.box)
            companions = 0 if self._user is not None else self._companions()
        restraint = Restraint(
            user=self._user, seccomp=self._filter, niceness=self._settings.niceness
        )
        limits = replace(step.limits, file_size=min(step.limits.file_size, step.limits.disk))
        rows = limit_rows(limits, companions=companions)
        begin = executing(self._translated(step).argv, self._environment())

        def launch(errors: int) -> NoReturn:
            become(begin, rows, restraint, errors, self._enter_rules)

        supervise(launch, link, self._kill)

    def _companions(self) -> int:
        """Return how many processes of this user there may be: those at the opening and all since.

        The limit must not bite an honest program because the trainer has started threads.
        """
        return max(0, self._neighbours + _all_threads()) + _SPARE_PROCESSES

    def _enter_rules(self) -> None:
        """Obey the ruleset that was kept, and let the program read about itself.

        The C library looks up the stack of the first thread in ``/proc/self/maps``, for mono
        for one. A child that the program starts has another directory, and no rule for it.
        """
        with contextlib.suppress(FileNotFoundError):
            landlock.allow(KEPT_FD, self._abi, _look_at("/proc/self"), Access.READ)
        kernel.set_no_new_privileges()
        kernel.restrict_self(KEPT_FD)

    def _kill(self, program: int) -> int:
        if self._abi >= landlock.SCOPES_SINCE:
            return kill_fenced(program)
        assert self._user is not None  # see _refuse_weak_kernels
        return kill_user(self._user)

    @override
    def close(self) -> None:
        """Kill what a failure may have left alive, and leave nothing behind."""
        if self._opened:
            self._kill(0)
        super().close()


def promises(abi: int, *, private_user: bool) -> tuple[Guarantee, ...]:
    """Return what the backend promises with this version of Landlock, tried or not."""
    name = f"Landlock {abi}"
    fence = f"{name}, signals kept within" if abi >= landlock.SCOPES_SINCE else "a user of its own"
    alone = private_user
    tcp = f" and {name}" if abi >= landlock.TCP_SINCE else ""
    rows = (
        ("network", Level.ENFORCED, f"seccomp{tcp}"),
        ("files", Level.PARTIAL, f"{name}; names and sizes of the host's files can be asked for"),
        ("tree_kill", Level.ENFORCED, fence),
        ("memory_sum", Level.PARTIAL, "limit per process"),
        (
            "processes",
            Level.ENFORCED if alone else Level.NONE,
            "RLIMIT_NPROC" if alone else "RLIMIT_NPROC above all that runs already",
        ),
        ("disk", Level.PARTIAL, "a limit for each file, on the host's disk"),
        (
            "other_samples",
            Level.ENFORCED if alone else Level.PARTIAL,
            f"{name}{' and a user of its own' if alone else '; sizes and times can be asked for'}",
        ),
    )
    return tuple(Guarantee(name, level, by, "not tried") for name, level, by in rows)


def _look_at(path: str) -> int:
    """Return a descriptor that names ``path`` and opens nothing; see O_PATH in open(2)."""
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _all_threads() -> int:
    """Return how many threads there are on the machine; see proc_loadavg(5)."""
    return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[2])


def count_processes() -> int:
    """Return how many processes of this user the kernel counts for RLIMIT_NPROC, by trying.

    Those of the same user in other containers count too, and cannot be seen; getrlimit(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    too_few, enough = 0, _all_threads() if hard == resource.RLIM_INFINITY else hard
    try:
        while too_few + 1 < enough:
            middle = (too_few + enough) // 2
            resource.setrlimit(resource.RLIMIT_NPROC, (middle, hard))
            if _can_fork():
                enough = middle
            else:
                too_few = middle
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
    return too_few


def _can_fork() -> bool:
    try:
        child = fork_child(lambda: None)
    except BlockingIOError:
        return False
    os.waitpid(child, 0)
    return True


def _take_over(box: Path, user: int | None) -> None:
    """Make what a build left immutable to runs, and executable; nothing of it runs any more.

    As root it becomes root's, with the rights of its former owner for that one's group. Else the
    linker was not allowed to make its output executable.
    """
    for path in _plain_below(box):
        mode = path.lstat().st_mode & 0o777
        if user is None:
            path.chmod(mode | 0o500)
        else:
            os.chown(path, 0, user)
            path.chmod(mode | (mode & 0o700) >> 3)


def _plain_below(top: Path) -> Iterator[Path]:
    """Yield directories and regular files, parents first, and follow no link."""
    yield top
    for folder, names, files in os.walk(top):
        for name in (*names, *files):
            path = Path(folder, name)
            kind = path.lstat().st_mode
            if stat.S_ISDIR(kind) or stat.S_ISREG(kind):
                yield path
