"""A sandbox, and the toolchains that were tried in it.

A toolchain is trusted only after it built a good program and refused a bad one on this machine:
a container without headers would otherwise score every answer 0.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from halo_forge.core.errors import SandboxFault, VerifierFault
from halo_forge.rlvr.verifiers.diagnostics import first_error, shown
from halo_forge.rlvr.verifiers.preamble import Preambles, exact_preamble, precompiled, stock
from halo_forge.rlvr.verifiers.toolchain import Toolchain, require, runner_path
from halo_forge.sandbox import (
    Job,
    JobResult,
    Kept,
    Limits,
    Outcome,
    Sandbox,
    Status,
    Step,
    open_sandbox,
)

__all__ = ["Budget", "SandboxOpener", "Tool", "Workbench"]

_BUILD_MEMORY = 2 << 30
_BUILD_FILE = 64 << 20
_TIME_LIMITS = frozenset({Status.TIMEOUT, Status.CPU_LIMIT})


class SandboxOpener(Protocol):
    """Opens a sandbox for a verifier, which closes it."""

    def __call__(self, *, workers: int) -> Sandbox:
        """Open a sandbox that runs ``workers`` jobs at one time.

        Raises:
            SandboxFault: If there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Budget:
    """What building and running an answer may use.

    Attributes:
        timeout: CPU seconds of the build.
        run_timeout: CPU seconds of one run.
        memory_limit_mb: MiB of memory of one run.

    Raises:
        ValueError: If any of them is not positive.
    """

    timeout: float
    run_timeout: float
    memory_limit_mb: int

    def __post_init__(self) -> None:
        """Refuse what would mean "no limit"."""
        for name in ("timeout", "run_timeout", "memory_limit_mb"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}")

    def build(self) -> Limits:
        """Return the limits of the build: a compiler needs more memory than most programs."""
        return Limits(
            cpu=self.timeout, memory=_BUILD_MEMORY, file_size=_BUILD_FILE, disk=_BUILD_FILE
        )

    def run(self, cpu: float | None = None, output: int = 0) -> Limits:
        """Return the limits of a run, with its own ``cpu`` or room for a large ``output``."""
        return Limits(
            cpu=self.run_timeout if cpu is None else cpu,
            memory=self.memory_limit_mb << 20,
            output=max(Limits().output, output),
        )


@dataclass(frozen=True, slots=True)
class Tool:
    """A toolchain that works here.

    Attributes:
        toolchain: Its row of the table.
        driver: Absolute path of its driver.
        runner: Absolute path of the program that runs what was built, if it needs one.
        version: First line of what it says about its version.
        flags: Flags that every build gets.
    """

    toolchain: Toolchain
    driver: str
    runner: str | None
    version: str
    flags: tuple[str, ...]

    @property
    def runs(self) -> bool:
        """What it builds can be run here."""
        runner = self.toolchain.runner
        return bool(self.toolchain.run) and (runner is None or self.runner is not None)

    def run_step(self, stdin: bytes, limits: Limits) -> Step:
        """Return the step that runs what was built."""
        argv = self.toolchain.run_argv(self.driver, self.runner, limits.memory)
        return Step(tuple(argv), stdin, replace(limits, reserve=self.toolchain.reserve))


class Workbench:
    """Builds and runs programs; opens its sandbox on first use; thread-safe.

    Args:
        sandbox: Somebody else's sandbox, which stays open on `close`, or what opens an own one;
            the best there is when absent.
        workers: Jobs that an own sandbox runs at one time.
        budget: Limits of builds and runs.
    """

    def __init__(
        self, sandbox: Sandbox | SandboxOpener | None, workers: int, budget: Budget
    ) -> None:
        self._given = sandbox if isinstance(sandbox, Sandbox) else None
        self._opener = None if isinstance(sandbox, Sandbox) else sandbox
        self._own: Sandbox | None = None
        self._workers = workers
        self._tools: dict[str, Tool] = {}
        self._lock = threading.RLock()
        self._preambles = Preambles()
        self.budget = budget

    @property
    def backend(self) -> str:
        """The sandbox's backend."""
        return self._sandbox().backend

    @property
    def confinement(self) -> tuple[str, ...]:
        """The sandbox's backend and how far each of its promises holds."""
        sandbox = self._sandbox()
        return (sandbox.backend, *(f"{one.name}={one.level}" for one in sandbox.guarantees()))

    @property
    def tools(self) -> list[Tool]:
        """Toolchains tried so far, by name."""
        with self._lock:
            return [self._tools[name] for name in sorted(self._tools)]

    def tool(self, toolchain: Toolchain, flags: tuple[str, ...]) -> Tool:
        """Return a toolchain that was tried with ``flags``; tries it the first time.

        Raises:
            VerifierFault: If it is missing, or builds a good program wrongly or a bad one at all.
        """
        with self._lock:
            if toolchain.name not in self._tools:
                self._tools[toolchain.name] = self._try(toolchain, flags)
            return self._tools[toolchain.name]

    def open(self) -> None:
        """Open the sandbox now.

        Raises:
            VerifierFault: If there is none.
        """
        self._sandbox()

    def can_execute(self, path: str) -> bool:
        """Tell whether a program of this machine is there, and may be run, in the sandbox.

        Raises:
            VerifierFault: If the sandbox failed.
        """
        return self.run(Job(runs=(Step(("test", "-x", path)),))).runs[0].ok

    def run(self, job: Job) -> JobResult:
        """Run a job.

        Raises:
            VerifierFault: If the sandbox failed.
        """
        try:
            return self._sandbox().run(job)
        except SandboxFault as fault:
            raise VerifierFault(f"the sandbox failed: {fault}") from fault

    def build_and_run(
        self, tool: Tool, source: bytes, runs: Sequence[Step], *, link: bool = True
    ) -> JobResult:
        """Build a program and run it; after a run that hits a time limit, no more are started.

        An endless loop thus costs one time limit instead of one for each run. A run that fails
        otherwise does not keep the next ones from being started.

        Raises:
            VerifierFault: If the sandbox failed or the disk is full.
        """
        build = self._build_step(tool, link=link)
        files = {tool.toolchain.language.source: source}
        kept = self._kept(tool, source)
        result = self.run(Job(files, build, tuple(runs), stop_on=_TIME_LIMITS, kept=kept))
        _refuse_full_disk(result.build)
        return _complaining(result, tool.toolchain)

    def close(self) -> None:
        """Close the sandbox, if it is an own one."""
        with self._lock:
            own, self._own = self._own, None
            self._tools.clear()
        if own is not None:
            own.close()

    def _sandbox(self) -> Sandbox:
        if self._given is not None:
            return self._given
        with self._lock:
            if self._own is None:
                try:
                    self._own = (self._opener or open_sandbox)(workers=self._workers)
                except SandboxFault as fault:
                    raise VerifierFault(f"no sandbox: {fault}") from fault
                # A verifier that nobody cleaned up still leaves nothing behind.
                weakref.finalize(self, self._own.close)
            return self._own

    def _kept(self, tool: Tool, source: bytes) -> Kept | None:
        """Return what other builds have made that this one can use, if there is anything."""
        toolchain = tool.toolchain
        if not toolchain.precompile:
            return stock(toolchain, tool.driver, tool.version, tool.flags)
        preamble = exact_preamble(source.decode("utf-8", "replace"))
        headers = self._preambles.choose(toolchain.name, preamble)
        if not headers:
            return None
        return precompiled(headers, toolchain, tool.driver, tool.version, tool.flags)

    def _build_step(self, tool: Tool, *, link: bool = True) -> Step:
        argv = tool.toolchain.build_argv(tool.driver, tool.flags, link=link)
        return Step(tuple(argv), limits=self.budget.build())

    def _try(self, toolchain: Toolchain, flags: tuple[str, ...]) -> Tool:
        """Return the toolchain as it works here, with the fastest linker that does.

        Raises:
            VerifierFault: If it does not work with any.
        """
        tool = Tool(toolchain, require(toolchain), runner_path(toolchain), "", flags)
        for program, flag in toolchain.linkers:
            if shutil.which(program) is not None:
                try:
                    return self._proven(replace(tool, flags=(*flags, flag)))
                except VerifierFault:
                    continue
        return self._proven(tool)

    def _proven(self, tool: Tool) -> Tool:
        """Build and run a good program, and fail to build a bad one."""
        toolchain = tool.toolchain
        build = self._build_step(tool)
        source = toolchain.language.source
        limits = Limits(reserve=toolchain.reserve)
        probes = [Step(tuple(toolchain.version_argv(tool.driver)), limits=limits)]
        if tool.runs:
            probes.append(tool.run_step(b"", self.budget.run(Limits().cpu)))
        good = self.run(Job({source: toolchain.good.encode()}, build, tuple(probes)))
        good = _complaining(good, toolchain)
        said = [run.stdout.strip() for run in good.runs if run.ok]
        if len(said) != len(probes) or (tool.runs and said[-1] != b"ok"):
            raise VerifierFault(
                f"{tool.driver} cannot build and run a correct program in the "
                f"{self.backend} sandbox: {_complaint(good, toolchain)}"
            )
        bad = self.run(Job({source: toolchain.bad.encode()}, build))
        if bad.build is None or bad.build.status is not Status.NONZERO:
            raise VerifierFault(f"{tool.driver} accepts a program with an error in it")
        banner = good.runs[0].stderr if toolchain.swapped else good.runs[0].stdout
        version = banner.decode("utf-8", "replace").strip().partition("\n")[0].strip()
        return replace(tool, version=shown(version, 120))


def _complaining(result: JobResult, toolchain: Toolchain) -> JobResult:
    """Return a result whose build has its diagnostics where all others have them."""
    build = result.build
    if build is None or not toolchain.swapped:
        return result
    return replace(result, build=replace(build, stderr=build.stdout + build.stderr))


def _complaint(result: JobResult, toolchain: Toolchain) -> str:
    for outcome in (result.build, *result.runs):
        if outcome is not None and not outcome.ok:
            error = first_error(outcome.stderr, toolchain)
            return f"{outcome.status}" + (f", {error[0]}" if error else "")
    return "its output is wrong"


def _refuse_full_disk(build: Outcome | None) -> None:
    """Tell a full disk of ours from a program that fills the sandbox's.

    Raises:
        VerifierFault: If the host's temporary directory is full.
    """
    if build is not None and b"No space left on device" in build.stderr:
        directory = tempfile.gettempdir()
        if shutil.disk_usage(directory).free < _BUILD_FILE:
            raise VerifierFault(f"the disk is full: {directory} has less than 64 MiB left")
