"""Tests and the program they are about, and what is told of how each ended."""

from __future__ import annotations

import functools
import importlib.util
import unittest
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from halo_forge.rlvr.verifiers.exam.outline import Outline

__all__ = ["Exam", "Report", "Subject", "described"]


class Subject(Protocol):
    """The program under test, on the other side of the wall or in this very process.

    Attributes:
        gone: Why it answers no more; empty while it does.
        out_of_time: That is because it used up its CPU time.
        believed: It was asked how objects of its own compare.
    """

    gone: str
    out_of_time: bool
    believed: bool

    def load(self) -> None:
        """Run it.

        Raises:
            Exception: What it raised.
        """

    def get(self, name: str) -> Any:
        """Return what a name of the program means to the tests.

        Raises:
            AttributeError: If the program has no such name.
        """

    def module(self, name: str) -> Any:
        """Return the program as a module of that name."""


class Report:
    """Tells the other side of the sandbox what came of each test, as soon as it is known.

    Args:
        write: Takes each line.
        program: Whose end fails the test that it came in, whatever the test made of it.
    """

    def __init__(self, write: Callable[[dict[str, Any]], None], program: Subject) -> None:
        self._write = write
        self._program = program
        self._untold: list[str] = []

    def announce(self, names: list[str]) -> None:
        """Name all tests there are, before any is run."""
        self._untold = list(names)
        self._write({"tests": names})

    def note(self, **facts: Any) -> None:
        """Say something about the exam as a whole."""
        self._write(facts)

    def loading(self) -> None:
        """Say that from here on the program has a part in whatever happens."""
        self.note(loading=True)

    def give_up(self, note: str) -> None:
        """Fail every test of which nothing is known yet."""
        for name in list(self._untold):
            self.tell(name, "failed", note)

    def tell(self, name: str, state: str, note: str = "") -> None:
        """Say how a test ended: ``passed``, ``failed`` or ``skipped``."""
        if self._program.gone:
            state, note = "failed", self._program.gone
        if name in self._untold:
            self._untold.remove(name)
        self._write({"id": name, "state": state, "note": note[:300]})

    def run(self, name: str, test: Callable[[], Any]) -> None:
        """Run a test, unless the program has ended."""
        if self._program.gone:
            return
        try:
            test()
        except unittest.SkipTest as error:
            self.tell(name, "skipped", str(error))
        except Exception as error:  # noqa: BLE001 - any error fails the test
            self.tell(name, "failed", described(error))
        else:
            self.tell(name, "passed")

    def end(self) -> None:
        """Say that there is nothing more to come."""
        program = self._program
        self.note(out_of_time=program.out_of_time, believed=program.believed)


@dataclass(frozen=True)
class Exam:
    """Tests, and the program they are about.

    Attributes:
        source: The tests; may be empty where their outline is known.
        entry_point: Function asked for, or "" when the tests name what they call.
        program: The program under test.
        report: Takes what comes of each test.
        known: The outline of the tests, where somebody has worked it out already.
    """

    source: str
    entry_point: str
    program: Subject
    report: Report
    known: Outline | None = None

    @functools.cached_property
    def outline(self) -> Outline:
        """The tests, read: as was done before, or here and now.

        Raises:
            SyntaxError: If they are no Python.
        """
        return self.known or Outline.of(self.source, _is_installed)


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def described(error: BaseException) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
