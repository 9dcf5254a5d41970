"""What is to be run, within which limits, and what came of it: the nouns of the sandbox.

::

    Job(files, build, runs)  --Sandbox.run-->  JobResult(build, runs) of Outcome

Everything here is frozen and validated on construction, since a job comes from the part of
the program that handles hostile text and goes to the part that handles hostile processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

__all__ = [
    "BOX",
    "ENVIRONMENT",
    "GUARANTEES",
    "Guarantee",
    "Job",
    "JobResult",
    "Kept",
    "Level",
    "Limits",
    "Outcome",
    "Status",
    "Step",
    "Warm",
]

BOX = "/box"
"""Where the files of a job lie inside the sandbox; also the working directory."""

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "HOME": "/tmp",  # noqa: S108 - the sandbox's own /tmp, not the host's
        "TMPDIR": "/tmp",  # noqa: S108
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "SOURCE_DATE_EPOCH": "0",
    }
)
"""The whole environment of every job: nothing of the caller's reaches it."""


GUARANTEES = (
    "network",
    "files",
    "tree_kill",
    "memory_sum",
    "processes",
    "disk",
    "other_samples",
)
"""The names of all guarantees, in the order in which they are reported."""


class Status(StrEnum):
    """How a step ended."""

    OK = "ok"
    NONZERO = "nonzero"
    CRASH = "crash"
    TIMEOUT = "timeout"
    CPU_LIMIT = "cpu_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    FILE_LIMIT = "file_limit"
    PROCESS_LIMIT = "process_limit"


class Level(StrEnum):
    """How far a guarantee holds."""

    ENFORCED = "enforced"
    PARTIAL = "partial"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """One promise of a backend.

    Attributes:
        name: One of `GUARANTEES`.
        level: How far it holds.
        by: The mechanism that upholds it.
        proof: What was tried when the sandbox was opened, and what happened.
    """

    name: str
    level: Level
    by: str
    proof: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What one step may use.

    CPU time decides; the wall clock is a backstop against sleeping, so that a loaded machine
    does not change a verdict.

    Attributes:
        cpu: Seconds of CPU time, children included.
        wall: Seconds of wall-clock time; ``None`` means ``3 * cpu + 2``.
        memory: Bytes of private memory for each process (for all together where a cgroup is
            available; see the guarantee ``memory_sum``).
        reserve: Bytes of address space beyond that, which a run-time maps and does not use.
        output: Bytes of standard output and, separately, of standard error.
        processes: Processes and threads at one time.
        file_size: Bytes of the largest file.
        disk: Bytes of all files in ``/tmp`` (and, for a whole job, in ``/box``).
        open_files: File descriptors of one process.
    """

    cpu: float = 5.0
    wall: float | None = None
    memory: int = 512 << 20
    reserve: int = 0
    output: int = 256 << 10
    processes: int = 32
    file_size: int = 16 << 20
    disk: int = 64 << 20
    open_files: int = 256

    def __post_init__(self) -> None:
        """Refuse limits that would mean "no limit" to the kernel."""
        for name in ("cpu", "wall_seconds"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"limit {name} must be a positive finite number, got {value!r}")
        for name in ("memory", "output", "processes", "file_size", "disk", "open_files"):
            if getattr(self, name) < 1:
                raise ValueError(f"limit {name} must be at least 1, got {getattr(self, name)!r}")
        if self.reserve < 0:
            raise ValueError(f"limit reserve must not be negative, got {self.reserve!r}")

    @property
    def wall_seconds(self) -> float:
        """The wall-clock backstop in seconds."""
        return 3 * self.cpu + 2 if self.wall is None else self.wall


@dataclass(frozen=True, slots=True)
class Step:
    """One program to run.

    Attributes:
        argv: Program and arguments. The program is looked up on the sandbox's own PATH; files
            of the job are found relative to the working directory ``/box``.
        stdin: Bytes for standard input, followed by end of file.
        limits: What the step may use.
    """

    argv: tuple[str, ...]
    stdin: bytes = b""
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        """Refuse an argv that exec could not take."""
        if not self.argv or not self.argv[0]:
            raise ValueError("a step needs a program in argv[0]")
        if any("\0" in argument for argument in self.argv):
            raise ValueError("an argument contains a NUL character")


@dataclass(frozen=True, slots=True)
class Kept:
    """What the builds of many jobs need, made by the first and kept for all, read-only.

    It saves time and changes nothing: a job must come out the same without it. Whether there is a
    place to keep it is the backend's affair.

    Attributes:
        key: Plain name of what is made; the same key always means the same thing.
        files: What it is made from: never anything that a model wrote.
        build: Makes it.
        names: What of the box is kept.
        flags: Arguments appended to the build of a job that uses it; ``{kept}`` is its directory.
    """

    key: str
    files: Mapping[str, bytes]
    build: Step
    names: tuple[str, ...]
    flags: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse names that would leave their directory."""
        _check_names([self.key, *self.files, *self.names])


@dataclass(frozen=True, slots=True)
class Warm:
    """Python code that the runs of many jobs begin with, loaded once and forked for each of them.

    It saves time and changes nothing: a run must come out the same by its argv, in an interpreter
    of its own. The process that is forked has loaded ``files`` and has seen no job. Whether there
    is one is the backend's affair.

    Attributes:
        key: Plain name of the code; the same key always means the same code.
        files: The code: modules and packages by their paths, such as ``package/__init__.py``.
        argv: How the argv of a run begins that starts the code cold; the rest are arguments.
        main: ``module:function``, called with the list of arguments.
        prepare: ``module:function``, called once when the code has been loaded, and its arguments;
            one more is a function that it must call last, which does not return. Runs begin there.
        cold: Files that a run finds in ``/box`` when it is started cold, beside those of the job.
    """

    key: str
    files: Mapping[str, bytes]
    argv: tuple[str, ...]
    main: str
    prepare: tuple[str, ...]
    cold: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse names that would leave their directory."""
        _check_names([self.key, *self.cold])

    def arguments(self, step: Step) -> list[str]:
        """Return what follows the beginning of a step's argv.

        Raises:
            ValueError: If the step does not begin so.
        """
        if step.argv[: len(self.argv)] != self.argv:
            raise ValueError(f"a run of {self.key} begins with {self.argv}, not {step.argv}")
        return list(step.argv[len(self.argv) :])


@dataclass(frozen=True, slots=True)
class Job:
    """Files, at most one build step, and any number of runs of what was built.

    Attributes:
        files: Plain file names to contents, placed in ``/box``, readable and executable.
        build: May write to ``/box`` (a compiler's output); the runs follow only if it is ok.
        runs: Each starts with ``/box`` read-only as the build left it, an empty ``/tmp`` and a
            process space of its own.
        stop_on: Ends of a run after which the remaining runs are skipped.
        kept: What the build can use, if it is there.
        warm: What the runs begin with, if it is there.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    build: Step | None = None
    runs: tuple[Step, ...] = ()
    stop_on: frozenset[Status] = frozenset()
    kept: Kept | None = None
    warm: Warm | None = None

    def __post_init__(self) -> None:
        """Refuse names that would leave ``/box``, and runs that are not what is warm."""
        _check_names(self.files)
        if self.warm is not None:
            for step in self.runs:
                self.warm.arguments(step)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The build, if any, and the runs, in order."""
        return self.runs if self.build is None else (self.build, *self.runs)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name in {"", ".", ".."} or "/" in name or "\0" in name or len(name) > 200:
            raise ValueError(f"a job's file needs a plain name, got {name!r}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step did.

    Attributes:
        status: How it ended; a limit that was hit goes before the exit code.
        code: Exit code, when it exited by itself.
        signal: Signal that ended it, when one did.
        stdout: Standard output, at most ``limits.output`` bytes.
        stderr: Standard error, at most ``limits.output`` bytes.
        cpu: Seconds of CPU time used by it and by all its children.
        wall: Seconds from start to end.
        rss: Largest resident size of one process, in bytes.
        leftovers: Processes that were still alive after it ended; all were killed.
    """

    status: Status
    code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes
    cpu: float
    wall: float
    rss: int
    leftovers: int

    @property
    def ok(self) -> bool:
        """It exited with code 0 within all limits."""
        return self.status is Status.OK


@dataclass(frozen=True, slots=True)
class JobResult:
    """The outcomes of a job: ``runs`` is empty when the build was not ok."""

    build: Outcome | None
    runs: tuple[Outcome, ...]
