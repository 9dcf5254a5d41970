"""A process that forks the program, waits, kills all that is left, and reports.

It holds nothing worth stealing. It is told to stop by end of file on its link, reports on the
same link, and reports only after every other process of the run is dead and reaped.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from halo_forge.sandbox import kernel, wire
from halo_forge.sandbox.cell import LINK_FD
from halo_forge.sandbox.killing import kill_namespace, reap_the_dead
from halo_forge.sandbox.running import Failure, Report, send_report
from halo_forge.sandbox.seccomp import build_filter
from halo_forge.sandbox.worker import (
    Restraint,
    become,
    executing,
    inherit_signals,
    limit_rows,
    why_not_started,
)

__all__ = ["complaining", "main", "supervise"]


def supervise(
    launch: Callable[[int], NoReturn], link: socket.socket, kill: Callable[[int], int]
) -> None:
    """Run a program on this process's standard streams and send a report on ``link``.

    Args:
        launch: Becomes the program; called in the child with a descriptor for `become`.
        link: Tells us to stop by its end, and takes the report.
        kill: Kills every process of the run, given the program's id; returns how many it reaped.
    """
    inherit_signals()
    bell = _hear_children()
    child, failure = _launch(launch)
    _let_go_of_streams()
    status = _await(child, link, bell)
    leftovers = kill(child) - (status is None)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = Report.of(
        int(signal.SIGKILL) if status is None else status,
        cpu=usage.ru_utime + usage.ru_stime,
        rss=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        leftovers=max(0, leftovers),
        failure=failure,
    )
    send_report(link, report)


@contextlib.contextmanager
def complaining(link: socket.socket) -> Iterator[None]:
    """Say on ``link`` why a run could not be prepared, since nobody reads our other streams."""
    try:
        yield
    except OSError as error:
        wire.send(link, {"fault": str(error)})
        raise


def _hear_children() -> int:
    """Return a descriptor that becomes readable when a child changes state."""
    bell, rope = os.pipe()
    os.set_blocking(bell, False)
    os.set_blocking(rope, False)
    signal.set_wakeup_fd(rope, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return bell


def _launch(launch: Callable[[int], NoReturn]) -> tuple[int, Failure]:
    """Fork the program; return its id and why it could not be started, if so."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        launch(writer)
    os.close(writer)
    with open(reader, "rb") as stream:  # noqa: PTH123 - a descriptor
        return child, why_not_started(stream.read())


def _let_go_of_streams() -> None:
    """Drop the program's pipes, so that only the program keeps them open."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _await(program: int, link: socket.socket, bell: int) -> int | None:
    """Wait for the program or an order; return the program's wait status in the first case."""
    poller = select.poll()
    poller.register(link, select.POLLIN)
    poller.register(bell, select.POLLIN)
    while True:
        status = reap_the_dead(program)
        if status is not None:
            return status
        ready = dict(poller.poll())
        if link.fileno() in ready:
            return None
        os.read(bell, 4096)


def main(arguments: Sequence[str]) -> None:
    """Supervise one run inside bubblewrap.

    Args:
        arguments: The step and its restraint as one JSON text.
    """
    kernel.set_dumpable(dumpable=False)
    plan = json.loads(arguments[0])
    restraint = Restraint(seccomp=build_filter(), niceness=plan["niceness"])
    link = socket.socket(fileno=LINK_FD)
    step = wire.decode_step(plan["step"])
    limits = limit_rows(step.limits, companions=plan["companions"])
    begin = executing(step.argv)
    supervise(lambda errors: become(begin, limits, restraint, errors), link, kill_namespace)
