"""A worker: one confinement, one job after another, until its channel closes."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from halo_forge.sandbox import wire
from halo_forge.sandbox.cell import Cell
from halo_forge.sandbox.policy import Job, JobResult, Kept, Outcome, Warm
from halo_forge.sandbox.runner import reap_supervisors, run_step
from halo_forge.sandbox.running import Trouble

__all__ = ["serve"]

_JOBS_BEFORE_RETIREMENT = 2000


def serve(cell: Cell, channel: socket.socket, lifeline: int) -> None:
    """Open ``cell``, say hello, and run jobs from ``channel`` until it or the broker is gone.

    A worker whose sandbox failed says so and ends: the next job deserves a fresh one.
    """
    try:
        guarantees = cell.open()
        wire.send(channel, {"hello": wire.encode_guarantees(guarantees)})
        known: dict[str, Warm] = {}
        for served in range(_JOBS_BEFORE_RETIREMENT):
            retiring = served == _JOBS_BEFORE_RETIREMENT - 1
            if not _serve_one(cell, channel, lifeline, known, retiring=retiring):
                break
    except wire.ChannelClosed:
        return
    except (Trouble, OSError, MemoryError) as error:
        with contextlib.suppress(OSError):
            wire.send(channel, {"fault": f"{type(error).__name__}: {error}"})
    finally:
        cell.close()


def _serve_one(
    cell: Cell,
    channel: socket.socket,
    lifeline: int,
    known: dict[str, Warm],
    *,
    retiring: bool,
) -> bool:
    """Wait for one job and answer it; return whether there may be another."""
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    poller.register(lifeline, 0)
    if any(descriptor == lifeline for descriptor, _ in poller.poll()):
        return False
    job = wire.decode_job(*wire.receive(channel), known)
    result = _run_job(cell, job, (channel.fileno(), lifeline))
    header, blobs = wire.encode_result(result)
    wire.send(channel, {**header, "retiring": retiring}, blobs)
    reap_supervisors()
    return True


def _run_job(cell: Cell, job: Job, guards: tuple[int, ...]) -> JobResult:
    with _lent(cell, job, guards) as flags:
        cell.place(job)
        try:
            return _run_steps(cell, job, flags, guards)
        finally:
            cell.clear()


def _run_steps(cell: Cell, job: Job, flags: tuple[str, ...], guards: tuple[int, ...]) -> JobResult:
    built = None
    if job.build is not None:
        build = replace(job.build, argv=(*job.build.argv, *flags))
        built = run_step(cell, build, guards, writable=True)
        if not built.ok:
            return JobResult(built, ())
    runs: list[Outcome] = []
    for step in job.runs:
        runs.append(run_step(cell, step, guards, writable=False, warm=job.warm))
        if runs[-1].status in job.stop_on:
            break
    return JobResult(built, tuple(runs))


def _lent(
    cell: Cell, job: Job, guards: tuple[int, ...]
) -> contextlib.AbstractContextManager[tuple[str, ...]]:
    """Return how the build of ``job`` uses what is kept for it, while the context lasts."""
    if cell.shelf is None or job.build is None or job.kept is None:
        return contextlib.nullcontext(())
    return cell.shelf.lend(job.kept, partial(_made, cell, job.kept, guards))


@contextlib.contextmanager
def _made(cell: Cell, kept: Kept, guards: tuple[int, ...]) -> Iterator[Path | None]:
    """Make what is to be kept, in a box of its own, and give that box."""
    cell.place(Job(kept.files, kept.build))
    try:
        yield cell.box if run_step(cell, kept.build, guards, writable=True).ok else None
    finally:
        cell.clear()
