"""The examiner: runs the tests, and has the program's calls done on the other side.

Started as ``exam.pyz PROGRAM CPU_SECONDS MEMORY``, or warm (`prepare`), with an `Order` on standard
input. It writes lines: ``{"one_process": why}`` if it is so, ``{"tests": [id, ...]}``,
``{"loading": true}``, for each test ``{"id", "state", "note"}``, and last ``{"out_of_time": bool,
"believed": bool}``. What is missing was not run.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from halo_forge.rlvr.verifiers.exam import candidate
from halo_forge.rlvr.verifiers.exam.by_pytest import with_pytest_ready
from halo_forge.rlvr.verifiers.exam.order import Order
from halo_forge.rlvr.verifiers.exam.report import Exam, Report
from halo_forge.rlvr.verifiers.exam.standin import Program
from halo_forge.rlvr.verifiers.exam.styles import run_tests
from halo_forge.rlvr.verifiers.exam.together import oversee

__all__ = ["main", "prepare"]

_PR_SET_DUMPABLE = 4
_libc = ctypes.CDLL(None, use_errno=True)
_borrowed: list[str] = []
"""Modules that only the examiner uses, loaded beforehand."""

_finders = list(sys.meta_path)
"""How modules were found before that."""


def prepare(packages: str, go_on: Callable[[], None]) -> None:
    """Load in good time what exams need; pytest too, where its folder of packages is given."""
    if not packages:
        return go_on()
    _finders[:] = sys.meta_path
    before = set(sys.modules)
    sys.path.append(packages)

    def begin() -> None:
        sys.path.remove(packages)
        _borrowed.extend(set(sys.modules) - before - sys.stdlib_module_names)
        go_on()

    return with_pytest_ready(begin)


def main(arguments: list[str]) -> None:
    """Part the two processes, then read the order: the candidate has never held it."""
    program, seconds, memory = arguments
    _hide()
    channel, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        _be_candidate(theirs, program, float(seconds), int(memory))
    theirs.close()
    order = Order.decode(_whole_input())
    if order.packages:
        sys.path.append(order.packages)
    entry_point = order.entry_point or ""
    subject = Program(channel, child, entry_point)
    report = Report(_own_output(), subject)
    exam = Exam(order.tests, entry_point, subject, report, order.outline)
    reason = _one_process_reason(exam, order.one_process)
    if reason:
        exam.report.note(one_process=reason)
        oversee(exam, subject, order.packages)
    else:
        run_tests(exam)
    # Whatever tests or their libraries left to be done at the end would come after the report.
    os._exit(0)


def _hide() -> None:
    """Keep the other process of the same user out of this one's memory and files.

    See PR_SET_DUMPABLE in prctl(2), and proc(5) on what belongs to root then.

    Raises:
        OSError: If the kernel refuses, so that nothing is examined unprotected.
    """
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def _whole_input() -> bytes:
    parts = []
    while part := os.read(0, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def _be_candidate(channel: socket.socket, program: str, seconds: float, memory: int) -> NoReturn:
    """Keep nothing but the channel, and answer."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        kept = channel.fileno()
        os.closerange(3, kept)
        os.closerange(kept + 1, 1 << 12)
        limit = math.ceil(seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        # What the program would not find in a process of its own.
        borrowed = {name: sys.modules.pop(name) for name in _borrowed}
        if borrowed:
            sys.meta_path[:] = _finders
        candidate.serve(channel, program, borrowed)
    finally:
        os._exit(0)


def _one_process_reason(exam: Exam, wanted: bool | None) -> str:
    """Return why the tests run in one process with the program, or "" where they do not."""
    if wanted is not None:
        return "asked for" if wanted else ""
    return exam.outline.apart


def _own_output() -> Callable[[dict[str, Any]], None]:
    """Return what writes the report; what tests print goes to standard error."""
    report = os.dup(1)
    os.dup2(2, 1)

    def write(line: dict[str, Any]) -> None:
        os.write(report, json.dumps(line).encode() + b"\n")

    return write
