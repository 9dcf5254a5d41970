"""Verdicts that were found before: in memory, and on request in a file.

A verdict is remembered under the name of all that decides it (`verdict_key`), so it never needs to
be thrown away for being out of date. Not remembered are faults, which are no verdicts, and verdicts
in which a limit was hit: on another day the program may stay within it.
"""

from __future__ import annotations

import json
import re
import signal
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from halo_forge.core.types import VerifyResult
from halo_forge.rlvr.verifiers.verdict_file import VerdictFile
from halo_forge.sandbox import Outcome, Status

__all__ = ["VerdictCache", "is_settled"]

_CAPACITY = 32 << 20
_OVERHEAD = 300
"""Bytes that an entry takes besides its text, about."""

_LIMITS = frozenset(Status) - {Status.OK, Status.NONZERO, Status.CRASH}
_WANT = re.compile(
    rb"No space left on device|Cannot allocate memory|Resource temporarily unavailable|"
    rb"MemoryError|bad_alloc|out of memory"
)
"""What a program says that met a limit by an error of its own and not by being killed."""


class VerdictCache:
    """Remembers verdicts by their key; thread-safe.

    What comes out is equal to what went in, and is a new object each time.

    Args:
        path: File in which verdicts are kept for other processes and later days, made when it is
            not there. In memory alone when absent.
        capacity: Bytes of memory; the verdicts that were not asked for longest are forgotten.

    Raises:
        UserError: If the file cannot be used, or is something else.
    """

    def __init__(self, path: str | Path | None = None, *, capacity: int = _CAPACITY) -> None:
        self._lock = threading.Lock()
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._size = 0
        self._capacity = capacity
        self._file = None if path is None else VerdictFile(Path(path).expanduser())

    def get(self, key: str) -> VerifyResult | None:
        """Return the verdict that was kept under ``key``, if it is still known."""
        with self._lock:
            text = self._texts.get(key)
            if text is not None:
                self._texts.move_to_end(key)
        if text is None and self._file is not None:
            text = self._file.read(key)
            if text is not None:
                self._hold(key, text)
        return None if text is None else _decoded(text)

    def put(self, key: str, verdict: VerifyResult) -> None:
        """Keep a verdict; one that would come out different from what it is is not kept."""
        text = _encoded(verdict)
        if text is None:
            return
        self._hold(key, text)
        if self._file is not None:
            self._file.write(key, text)

    def clear(self) -> None:
        """Free the memory; what is in the file stays there."""
        with self._lock:
            self._texts.clear()
            self._size = 0

    def close(self) -> None:
        """Free the memory and close the file; using the cache opens it again."""
        self.clear()
        if self._file is not None:
            self._file.close()

    def _hold(self, key: str, text: str) -> None:
        with self._lock:
            self._size += _weight(key, text) - _weight(key, self._texts.get(key))
            self._texts[key] = text
            self._texts.move_to_end(key)
            while self._size > self._capacity:
                self._size -= _weight(*self._texts.popitem(last=False))


def is_settled(verdict: VerifyResult, outcomes: Iterable[Outcome | None]) -> bool:
    """Tell whether a verdict would be the same on another day: nothing in it hit a limit.

    Args:
        verdict: The verdict.
        outcomes: Of the build and the runs it rests on.
    """
    known = [one for one in outcomes if one is not None]
    words = {*verdict.metadata.get("limits", ()), *verdict.metadata.get("tests", ())}
    starved = any(one.signal == signal.SIGKILL or _WANT.search(one.stderr) for one in known)
    return not (starved or _LIMITS & {one.status for one in known} or words & set(_LIMITS))


def _weight(key: str, text: str | None) -> int:
    return 0 if text is None else len(key) + len(text) + _OVERHEAD


def _encoded(verdict: VerifyResult) -> str | None:
    """Return a verdict as JSON, or ``None`` if JSON cannot hold it as it is."""
    fields = [
        verdict.success, verdict.reward, verdict.details, verdict.error, dict(verdict.metadata)
    ]  # fmt: skip
    try:
        text = json.dumps(fields)
        same = _decoded(text) == verdict and json.loads(text) == fields
    except (TypeError, ValueError, RecursionError):
        return None
    return text if same else None


def _decoded(text: str) -> VerifyResult:
    return VerifyResult(*json.loads(text))
