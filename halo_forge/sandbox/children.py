"""Forking a child that shares our code but never our clean-up."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

__all__ = ["fork_child"]


def fork_child(work: Callable[[], None]) -> int:
    """Fork, do ``work`` in the child, end it there; return the child's id.

    The child ends without running handlers or flushing buffers of the parent, see _exit(2);
    what goes wrong in it is written to standard error.
    """
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        raise
    finally:
        os._exit(status)
