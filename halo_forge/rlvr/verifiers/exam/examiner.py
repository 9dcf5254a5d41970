"""The examiner: runs the tests, and has the program's calls done on the other side.

Started as ``exam.pyz PROGRAM CPU_SECONDS MEMORY`` with an order on standard input: ``{"tests":
source, "entry_point": name or null, "packages": folder or null}``. It writes, line by line,
``{"tests": [id, ...]}``, for each test ``{"id", "state", "note"}``, and last
``{"out_of_time": bool, "believed": bool}``. What is missing was not run.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import resource
import socket
import sys
from typing import NoReturn

from halo_forge.rlvr.verifiers.exam import candidate
from halo_forge.rlvr.verifiers.exam.standin import Program
from halo_forge.rlvr.verifiers.exam.styles import Exam, Report, run_tests

__all__ = ["main"]

_PR_SET_DUMPABLE = 4


def main() -> None:
    """Part the two processes, then read the order: the candidate has never held it."""
    _, program, seconds, memory = sys.argv
    _hide()
    channel, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        _be_candidate(theirs, program, float(seconds), int(memory))
    theirs.close()
    order = json.load(sys.stdin)
    if order["packages"]:
        sys.path.append(order["packages"])
    entry_point = order["entry_point"] or ""
    subject = Program(channel, child, entry_point)
    report = Report(_own_output(), subject)
    run_tests(Exam(order["tests"], entry_point, subject, report))
    # Whatever tests or their libraries left to be done at the end would come after the report.
    os._exit(0)


def _hide() -> None:
    """Keep the other process of the same user out of this one's memory and files.

    See PR_SET_DUMPABLE in prctl(2), and proc(5) on what belongs to root then.

    Raises:
        OSError: If the kernel refuses, so that nothing is examined unprotected.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


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
        candidate.serve(channel, program)
    finally:
        os._exit(0)


def _own_output() -> int:
    """Return a descriptor for the report; what tests print goes to standard error."""
    report = os.dup(1)
    os.dup2(2, 1)
    return report
