"""The sandbox whose programs run on another machine."""

from __future__ import annotations

import asyncio
import threading

from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox.base import Sandbox
from halo_forge.sandbox.policy import GUARANTEES, Guarantee, Job, JobResult, Level
from halo_forge.sandbox.ssh.connection import Account, EventLoop
from halo_forge.sandbox.ssh.machine import FarSide, Machine
from halo_forge.utils.typing import override

__all__ = ["SshSandbox"]

_ATTEMPTS = 2
_PAUSE = 1.0
_MOST_CHANNELS = 8  # sshd allows 10 sessions in a connection, and file transfer is one of them
_BY_JOB_OBJECT = frozenset({"tree_kill", "memory_sum", "processes"})


class SshSandbox(Sandbox):
    """Runs jobs on a Windows machine, over one connection, under limits that hold there.

    A job object there bounds time, memory and the number of processes of each step and ends all
    that it started. Nothing else is confined: a program is free to do what its account may do on
    that machine and from it. What it says comes back as bytes, as many as its limits allow.

    Args:
        account: Machine and account.
        far_side: How they are used.
        workers: Jobs at one time, at most 8.

    Raises:
        SandboxFault: If the machine cannot be reached or used; the message says how to mend it.
    """

    backend = "ssh"

    def __init__(self, account: Account, far_side: FarSide, *, workers: int) -> None:
        self._account = account
        self._far_side = far_side
        self._slots = threading.BoundedSemaphore(max(1, min(workers, _MOST_CHANNELS)))
        self._litter: set[str] = set()
        self._opening = asyncio.Lock()
        self._machine: Machine | None = None
        self._closed = False
        self._loop = EventLoop()
        try:
            self.server = self._loop.call(self._connected()).server
        except BaseException:
            self._loop.close()
            raise

    @override
    def run(self, job: Job) -> JobResult:
        """Run one job, a second time after a fault, over a new connection if need be."""
        reasons: list[str] = []
        with self._slots:
            while len(reasons) < _ATTEMPTS:
                if self._closed:
                    raise SandboxFault("the sandbox is closed")
                try:
                    return self._loop.call(self._run(job, _PAUSE * len(reasons)))
                except SandboxFault as fault:
                    reasons.append(str(fault))
        raise SandboxFault(
            f"the far side failed {_ATTEMPTS} times: " + "; then: ".join(dict.fromkeys(reasons))
        )

    async def _run(self, job: Job, pause: float) -> JobResult:
        await asyncio.sleep(pause)
        machine = await self._connected()
        return await machine.run(job)

    async def _connected(self) -> Machine:
        """Return the session there is, or a new one when its connection was lost."""
        async with self._opening:
            if self._machine is None or self._machine.is_lost:
                if self._machine is not None:
                    await self._machine.close()
                self._machine = None
                machine = Machine(self._account, self._far_side, self._litter)
                await machine.open()
                self._machine = machine
            return self._machine

    @override
    def guarantees(self) -> tuple[Guarantee, ...]:
        """Return what is promised: limits, and no confinement."""
        return tuple(
            Guarantee(name, Level.PARTIAL, "job object on the far side", "not tried")
            if name in _BY_JOB_OBJECT
            else Guarantee(name, Level.NONE, "nothing on the far side", "not tried")
            for name in GUARANTEES
        )

    @override
    def close(self) -> None:
        """Remove what is left on the far side, and disconnect."""
        if self._closed:
            return
        self._closed = True
        if self._loop.is_here:  # garbage is collected by whatever thread makes some
            threading.Thread(target=self._close, name="ssh-close").start()
        else:
            self._close()

    def _close(self) -> None:
        if self._machine is not None:
            self._loop.call(self._machine.close())
        self._loop.close()
