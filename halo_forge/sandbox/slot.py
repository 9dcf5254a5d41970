"""A worker: one confinement, one job after another, until its channel closes."""

from __future__ import annotations

import contextlib
import select
import socket
from dataclasses import replace
from pathlib import Path

from halo_forge.sandbox import wire
from halo_forge.sandbox.cell import Cell, Trouble
from halo_forge.sandbox.policy import Job, JobResult, Kept, Outcome
from halo_forge.sandbox.runner import reap_supervisors, run_step

__all__ = ["serve"]

_JOBS_BEFORE_RETIREMENT = 2000


def serve(cell: Cell, channel: socket.socket, lifeline: int) -> None:
    """Open ``cell``, say hello, and run jobs from ``channel`` until it or the broker is gone.

    A worker whose sandbox failed says so and ends: the next job deserves a fresh one.
    """
    try:
        guarantees = cell.open()
        wire.send(channel, {"hello": wire.encode_guarantees(guarantees)})
        for served in range(_JOBS_BEFORE_RETIREMENT):
            retiring = served == _JOBS_BEFORE_RETIREMENT - 1
            if not _serve_one(cell, channel, lifeline, retiring=retiring):
                break
    except wire.ChannelClosed:
        return
    except (Trouble, OSError, MemoryError) as error:
        with contextlib.suppress(OSError):
            wire.send(channel, {"fault": f"{type(error).__name__}: {error}"})
    finally:
        cell.close()


def _serve_one(cell: Cell, channel: socket.socket, lifeline: int, *, retiring: bool) -> bool:
    """Wait for one job and answer it; return whether there may be another."""
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    poller.register(lifeline, 0)
    if any(descriptor == lifeline for descriptor, _ in poller.poll()):
        return False
    job = wire.decode_job(*wire.receive(channel))
    result = _run_job(cell, job, (channel.fileno(), lifeline))
    header, blobs = wire.encode_result(result)
    wire.send(channel, {**header, "retiring": retiring}, blobs)
    reap_supervisors()
    return True


def _run_job(cell: Cell, job: Job, guards: tuple[int, ...]) -> JobResult:
    build = job.build
    if build is not None and job.kept is not None:
        build = replace(build, argv=(*build.argv, *_kept_flags(cell, job.kept, guards)))
    cell.place(job)
    try:
        built = None
        if build is not None:
            built = run_step(cell, build, guards, writable=True)
            if not built.ok:
                return JobResult(built, ())
        runs: list[Outcome] = []
        for step in job.runs:
            runs.append(run_step(cell, step, guards, writable=False, warm=job.warm))
            if runs[-1].status in job.stop_on:
                break
        return JobResult(built, tuple(runs))
    finally:
        cell.clear()


def _kept_flags(cell: Cell, kept: Kept, guards: tuple[int, ...]) -> tuple[str, ...]:
    """Return how a build uses what is kept for it; makes it when it is worth it."""
    if cell.shelf is None:
        return ()
    placed = False

    def make() -> Path | None:
        nonlocal placed
        cell.place(Job(kept.files, kept.build))
        placed = True
        return cell.box if run_step(cell, kept.build, guards, writable=True).ok else None

    try:
        return cell.shelf.flags(kept, make)
    finally:
        if placed:
            cell.clear()
