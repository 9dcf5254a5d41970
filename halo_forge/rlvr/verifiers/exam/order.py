"""The order of an exam, as the examiner reads it on its standard input: a JSON line, and bytes."""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from dataclasses import dataclass

from halo_forge.rlvr.verifiers.exam.outline import Outline

__all__ = ["Order", "outline_of"]


@dataclass(frozen=True)
class Order:
    """What is to be examined, and how.

    Attributes:
        tests: Source of the tests; empty where the outline says all there is to know.
        entry_point: Name of the function asked for.
        packages: Folder of packages that the tests may need.
        one_process: Whether tests and program run in one process; ``None`` if the tests decide.
        outline: The tests, read beforehand by an interpreter like the one that runs them.
    """

    tests: str
    entry_point: str | None
    packages: str | None
    one_process: bool | None
    outline: Outline | None = None

    def encode(self) -> bytes:
        """Return the order as bytes."""
        known = self.outline
        told = known is not None and known.style != "pytest" and not known.apart
        tests = "" if told and not self.one_process else self.tests
        words = [tests, self.entry_point, self.packages, self.one_process]
        line = json.dumps(words).encode("utf-8", "surrogatepass")
        return line + b"\n" + (known.packed() if known is not None else b"")

    @classmethod
    def decode(cls, data: bytes) -> Order:
        """Invert `encode`."""
        line, _, packed = data.partition(b"\n")
        tests, entry_point, folder, one_process = json.loads(line.decode())
        outline = Outline.unpacked(packed) if packed else None
        return cls(tests, entry_point, folder, one_process, outline)


@functools.lru_cache(maxsize=64)
def outline_of(tests: str) -> Outline | None:
    """Return the outline of tests, if this interpreter can know it without the sandbox's packages.

    Where there is an error in them, the examiner is to find it.
    """
    try:
        return Outline.of(tests, _in_standard_library)
    except (_Undecided, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Undecided(Exception):
    """Tests import a module that may or may not be installed where they run."""


def _in_standard_library(name: str) -> bool:
    if name not in sys.stdlib_module_names:
        raise _Undecided(name)
    return importlib.util.find_spec(name) is not None
