"""The trainer's side of the sandbox: a broker, its workers, and a queue in front of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox import wire
from halo_forge.sandbox.base import Sandbox
from halo_forge.sandbox.cell import CellSettings
from halo_forge.sandbox.deadline import STARVATION_FACTOR
from halo_forge.sandbox.paths import python_executable, visible_paths
from halo_forge.sandbox.policy import ENVIRONMENT, Guarantee, Job, JobResult, Kept
from halo_forge.sandbox.scratch import erase
from halo_forge.utils.kernel_facts import memory_limits
from halo_forge.utils.typing import override

__all__ = ["BrokerSandbox"]

_BOOT = Path(__file__).with_name("boot.py")
_START_SECONDS = 30.0
_MARGIN_SECONDS = 30.0
_DYING_SECONDS = 0.5
_ATTEMPTS = 2
_ENVIRONMENT = {"PYTHONHASHSEED": ENVIRONMENT["PYTHONHASHSEED"]}
"""Of the broker, whose forks may run programs: the order of a printed set is a verdict."""
_SHELF_MOST = 1 << 30
_SHELF_OF_MEMORY, _SHELF_OF_DISK = 16, 4


class _WorkerLost(Exception):
    """A worker died, hung or reported its own failure; the job was not judged."""


class _Broker:
    """The broker process and the channel to it."""

    def __init__(self, scratch: str, *, niceness: int) -> None:
        self.scratch = scratch
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._control, theirs = socket.socketpair()
        with theirs:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [
                    sys.executable,
                    *("-P", "-s", "-S", str(_BOOT), "broker"),
                    *(str(os.getpid()), str(niceness), scratch),
                ],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )

    def open_worker(self, backend: str, settings: CellSettings) -> socket.socket:
        """Have a worker forked and return the channel to it."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [b"w"], [theirs.fileno()])
                order = {"backend": backend, "settings": asdict(settings)}
                wire.send(self._control, order)
            except OSError as error:
                ours.close()
                raise _WorkerLost("the broker is gone") from error
        return ours

    def died_just_now(self) -> bool:
        """Return whether the broker is dead; a killed process takes a moment to be so."""
        try:
            self.process.wait(timeout=_DYING_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self) -> str:
        """Return the end of what the broker and its workers wrote to standard error."""
        self._log.seek(0)
        text = self._log.read()[-2000:].decode(errors="replace").strip()
        return f" [{text}]" if text else ""

    def close(self) -> None:
        """End the broker and with it every worker and every program."""
        self._control.close()
        try:
            self.process.wait(timeout=_START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


class _Worker:
    """The client's view of one worker; used by one thread at a time."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.channel: socket.socket | None = None
        self.guarantees: tuple[Guarantee, ...] = ()
        self._told: set[str] = set()

    def greet(self, channel: socket.socket) -> None:
        """Wait until the worker has entered its confinement."""
        channel.settimeout(_START_SECONDS)
        self.channel = channel
        self._told.clear()
        try:
            header, _ = self._receive()
        except BaseException:
            self.drop()
            raise
        self.guarantees = wire.decode_guarantees(header["hello"])

    def run(self, job: Job) -> JobResult:
        """Run ``job``; on `_WorkerLost` the worker is gone.

        After any exception, an interrupt included, the worker is dropped: an answer that is
        still to come must never be taken for the answer to the next job.
        """
        try:
            return self._run(job)
        except BaseException:
            self.drop()
            raise

    def _run(self, job: Job) -> JobResult:
        channel = self.channel
        if channel is None:
            raise _WorkerLost("the worker was not started")
        seconds = sum(step.limits.wall_seconds for step in job.steps)
        channel.settimeout(seconds * STARVATION_FACTOR + _MARGIN_SECONDS * (1 + len(job.steps)))
        try:
            wire.send(channel, *wire.encode_job(job, self._told))
        except OSError as error:
            raise _WorkerLost("the worker is gone") from error
        if job.warm is not None:
            self._told.add(job.warm.key)
        header, blobs = self._receive()
        if header["retiring"]:
            self.drop()
        return wire.decode_result(header, blobs)

    def _receive(self) -> wire.Message:
        assert self.channel is not None
        try:
            header, blobs = wire.receive(self.channel)
        except TimeoutError as error:
            raise _WorkerLost("the worker did not answer in time") from error
        except OSError as error:
            raise _WorkerLost("the worker died") from error
        if "fault" in header:
            raise _WorkerLost(str(header["fault"]))
        return header, blobs

    def drop(self) -> None:
        """Close the channel: the worker and all that runs in it end."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None


class BrokerSandbox(Sandbox):
    """A sandbox whose programs run in the workers of a broker process.

    Args:
        backend: ``namespaces``, ``bwrap``, ``landlock`` or ``unsafe``.
        workers: How many jobs may run at one time.
        niceness: Added to the priority of programs, 0 to 19: how far they step back for others.

    Raises:
        SandboxFault: If the backend does not work on this machine.
    """

    def __init__(self, backend: str, *, workers: int, niceness: int) -> None:
        self.backend = backend
        self._niceness = niceness
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._scratch = tempfile.mkdtemp(prefix="halo-forge-")
        self._shelf_room = _shelf_room(self._scratch)
        self._secret = secrets.token_bytes(16)
        self._broker = _Broker(self._scratch, niceness=niceness)
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        first, *others = [_Worker(index) for index in range(workers)]
        try:
            self._start(first)
        except _WorkerLost as error:
            reason = f"{error}{self._broker.last_words()}"
            self.close()
            raise SandboxFault(reason) from error
        self._guarantees = first.guarantees
        for worker in (*others, first):
            self._idle.put(worker)

    @property
    def broker_pid(self) -> int:
        """Process id of the broker that serves this sandbox now."""
        return self._broker.process.pid

    @override
    def guarantees(self) -> tuple[Guarantee, ...]:
        """Return what was promised, and proved at the opening."""
        return self._guarantees

    def prove(self, guarantees: tuple[Guarantee, ...]) -> None:
        """Replace the promises by what was found when they were tried."""
        self._guarantees = guarantees

    @override
    def run(self, job: Job) -> JobResult:
        """Run ``job`` on the next free worker; see `Sandbox.run`."""
        self._check_usable()
        if job.kept is not None:
            job = replace(job, kept=self._hidden(job.kept))
        worker = self._idle.get()
        try:
            return self._run_on(worker, job)
        finally:
            self._idle.put(worker)

    def _hidden(self, kept: Kept) -> Kept:
        """Give what is kept a name that a program cannot guess, and so not find out about."""
        name = hashlib.blake2b(kept.key.encode(), key=self._secret, digest_size=16)
        return replace(kept, key=name.hexdigest())

    def _run_on(self, worker: _Worker, job: Job) -> JobResult:
        reasons: list[str] = []
        while len(reasons) < _ATTEMPTS:
            self._check_usable()
            try:
                if worker.channel is None:
                    self._start(worker)
                return worker.run(job)
            except _WorkerLost as error:
                reasons.append(f"{error}{self._broker.last_words()}")
        raise SandboxFault(
            f"the {self.backend} sandbox failed {_ATTEMPTS} times: "
            + "; then: ".join(dict.fromkeys(reasons))
        )

    def _check_usable(self) -> None:
        if self._closed:
            raise SandboxFault("the sandbox is closed")
        if os.getpid() != self._owner:
            raise SandboxFault(
                "this sandbox was opened before a fork; open one in each process that uses it"
            )

    def _start(self, worker: _Worker) -> None:
        settings = CellSettings(
            index=worker.index,
            niceness=self._niceness,
            paths=list(visible_paths()),
            python=python_executable(),
            scratch=self._scratch,
            shelf_room=self._shelf_room,
        )
        try:
            worker.greet(self._open_channel(settings))
        except _WorkerLost:
            if not self._broker.died_just_now():
                raise
            worker.greet(self._open_channel(settings))

    def _open_channel(self, settings: CellSettings) -> socket.socket:
        with self._lock:
            if self._closed:
                raise SandboxFault("the sandbox was closed while a job ran")
            if self._broker.process.poll() is not None:
                self._broker.close()
                Path(self._scratch).mkdir(mode=0o700, exist_ok=True)
                self._broker = _Broker(self._scratch, niceness=self._niceness)
            return self._broker.open_worker(self.backend, settings)

    @override
    def close(self) -> None:
        """End the broker and everything below it."""
        with self._lock:
            if self._closed or os.getpid() != self._owner:
                return
            self._closed = True
            self._broker.close()
        self._drop_idle_workers()
        erase(Path(self._scratch))

    def _drop_idle_workers(self) -> None:
        """Close the channels that no thread is listening on; the others see their worker die."""
        idle: list[_Worker] = []
        with contextlib.suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for worker in idle:
            worker.drop()
            self._idle.put(worker)


def _shelf_room(place: str) -> int:
    """Return the bytes that may be kept at ``place``: a part of the memory and of the free disk.

    What is kept is read again and again, so it is in memory, on a disk or not.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory = min([memory, *(limit for _, limit in memory_limits())])
    free = shutil.disk_usage(place).free
    return min(_SHELF_MOST, memory // _SHELF_OF_MEMORY, free // _SHELF_OF_DISK)
