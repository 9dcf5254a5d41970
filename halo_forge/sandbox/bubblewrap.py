"""The backend for hosts that refuse our own namespaces and trust bubblewrap, see bwrap(1).

Each run is one bubblewrap with our supervisor as its process 1, so limits, capture and
reporting are the same as in the namespaces backend; it costs one start of Python a run more.
"""

from __future__ import annotations

import json
import os
import py_compile
from collections.abc import Iterable, Iterator
from pathlib import Path

from halo_forge.sandbox import wire
from halo_forge.sandbox.cell import LINK_FD, Cell, CellSettings, Streams
from halo_forge.sandbox.identity import INSIDE_USER, private_user, shed_root
from halo_forge.sandbox.policy import BOX, ENVIRONMENT, Guarantee, Job, Level, Step, Warm
from halo_forge.sandbox.running import LinkedRun, Run, Trouble
from halo_forge.sandbox.scratch import erase, new_directory, place_files
from halo_forge.utils.typing import override

__all__ = ["BubblewrapCell"]

_CODE = "/run/halo"
_COMPANIONS = 1


class BubblewrapCell(Cell):
    """Starts a bubblewrap for each run, from a directory of its own on the host."""

    def __init__(self, settings: CellSettings) -> None:
        self._settings = settings
        self._base = Path(settings.scratch, f"worker-{os.getpid()}")
        self.box = self._base / "box"
        self._program = ""
        self._mounts: list[str] = []

    @override
    def open(self) -> tuple[Guarantee, ...]:
        """Enter the confinement; see `Cell.open`."""
        self._program = _find_bubblewrap()
        self._base.mkdir(mode=0o700)
        self._copy_code()
        self._shed_root()
        self._mounts = list(_mounts(self._settings.paths))
        rows = (
            ("network", Level.ENFORCED, "bubblewrap network namespace and seccomp"),
            ("files", Level.ENFORCED, "bubblewrap mount namespace"),
            ("tree_kill", Level.ENFORCED, "bubblewrap PID namespace"),
            ("memory_sum", Level.PARTIAL, "limit per process"),
            ("processes", Level.PARTIAL, "RLIMIT_NPROC"),
            ("disk", Level.PARTIAL, "sized /tmp; a build writes /box on the host's disk"),
            ("other_samples", Level.ENFORCED, "a bubblewrap for each run"),
        )
        return tuple(Guarantee(name, level, by, "not tried") for name, level, by in rows)

    def _copy_code(self) -> None:
        """Copy what runs inside: the package may lie where the worker's user cannot read."""
        here, there = Path(__file__).parents[1], self._base / "code" / "halo_forge"
        for source in (*here.glob("sandbox/*.py"), here / "utils" / "typing.py"):
            copy = there / source.relative_to(here)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
            py_compile.compile(str(copy))  # else every run compiles it anew

    def _shed_root(self) -> None:
        user = private_user(self._settings.index)
        if os.geteuid() == 0 and user is not None:
            Path(self._settings.scratch).chmod(0o711)
            os.chown(self._base, user, user)
            shed_root(user)

    @override
    def place(self, job: Job) -> None:
        """Put the files of ``job`` in a new box."""
        self.box = new_directory(self._base, "box")
        place_files(self.box, job)

    @override
    def start(
        self, step: Step, streams: Streams, *, writable: bool, warm: Warm | None = None
    ) -> Run:
        """Start ``step``; see `Cell.start`."""

        def work(link: int) -> None:
            streams.install(link)
            os.set_inheritable(LINK_FD, True)  # noqa: FBT003 - positional only
            os.execve(self._program, self._command(step, writable=writable), {})  # noqa: S606

        return LinkedRun.fork(work)

    def _command(self, step: Step, *, writable: bool) -> list[str]:
        command = [self._program, "--unshare-all", "--die-with-parent", "--as-pid-1"]
        command += ["--hostname", "sandbox", "--clearenv", "--cap-drop", "ALL"]
        command += ["--uid", str(INSIDE_USER), "--gid", str(INSIDE_USER)]
        command += self._mounts
        command += ["--ro-bind", str(self._base / "code"), _CODE]
        command += ["--bind" if writable else "--ro-bind", str(self.box), BOX]
        command += ["--dev", "/dev", "--proc", "/proc", "--symlink", "/tmp", "/var/tmp"]  # noqa: S108
        for place in ("/tmp", "/dev/shm"):  # noqa: S108
            command += ["--size", str(step.limits.disk), "--perms", "1777", "--tmpfs", place]
        command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", BOX]
        boot = f"{_CODE}/halo_forge/sandbox/boot.py"
        head, _ = wire.encode_step(step)
        plan = {"step": head, "niceness": self._settings.niceness, "companions": _COMPANIONS}
        python = [self._settings.python, "-I", "-S", "-B", boot, "supervisor"]
        return [*command, *python, json.dumps(plan)]

    @override
    def clear(self) -> None:
        """Throw the box away."""
        erase(self.box)

    @override
    def close(self) -> None:
        """Leave nothing behind."""
        erase(self._base)


def _find_bubblewrap() -> str:
    for folder in ENVIRONMENT["PATH"].split(":"):
        if os.access(f"{folder}/bwrap", os.X_OK):
            return f"{folder}/bwrap"
    raise Trouble("the program bwrap is not installed")


def _mounts(paths: Iterable[str]) -> Iterator[str]:
    """Yield the arguments that show ``paths``, as far as this user may read them."""
    for path in map(Path, paths):
        if not os.access(path, os.R_OK):
            continue
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        else:
            yield from ("--ro-bind", str(path), str(path))
