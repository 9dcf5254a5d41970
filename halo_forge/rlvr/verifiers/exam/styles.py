"""The ways tests are written: asserts, ``check(candidate)``, functions, unittest, pytest."""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import sys
import types
import unittest
from collections.abc import Callable
from typing import Any

from halo_forge.rlvr.verifiers.exam.by_pytest import run_pytest
from halo_forge.rlvr.verifiers.exam.outline import MODULE
from halo_forge.rlvr.verifiers.exam.report import Exam, Report, described

__all__ = ["run_tests", "settle_style"]

_Test = Callable[[], Any]


def settle_style(exam: Exam) -> str:
    """Return how the tests are written, and see that they can be run.

    Raises:
        SyntaxError: If the tests are no Python.
        ValueError: If they do not say which function they are about.
        ImportError: If they need pytest and it is not here.
    """
    style = exam.outline.style
    if style == "check" and not exam.entry_point:
        raise ValueError("tests of the form check(candidate) need an entry_point")
    if style == "pytest":
        try:
            importlib.import_module("pytest")
        except ImportError:
            raise ImportError("they need pytest: pip install 'halo-forge[pytest]'") from None
    return style


def run_tests(exam: Exam) -> None:
    """Run the tests of an exam and report on each; raises what `settle_style` does."""
    style = settle_style(exam)
    # What pytest makes of a file with parameters is known only later.
    exam.report.announce(exam.outline.names)
    exam.report.loading()
    try:
        exam.program.load()
        _provide(exam)
        _STYLES[style](exam)
    except Exception as error:  # noqa: BLE001 - whatever ends the tests fails the rest of them
        exam.report.give_up(described(error))
    exam.report.end()


def _provide(exam: Exam) -> None:
    """Let the tests find the program: as a module they import, and under bare names."""
    for name in exam.outline.modules:
        sys.modules[name] = exam.program.module(name)
    for name in exam.outline.free:
        # A name that the program lacks is a NameError of the test that uses it.
        with contextlib.suppress(AttributeError):
            setattr(builtins, name, exam.program.get(name))


def _module(exam: Exam) -> types.ModuleType:
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    for _, code in exam.outline.parts:
        exec(code, module.__dict__)  # noqa: S102 - the tests are the user's
    return module


def _run_asserts(exam: Exam) -> None:
    module = types.ModuleType(MODULE)
    for name, code in exam.outline.parts:
        test = functools.partial(exec, code, module.__dict__)
        if name:
            exam.report.run(name, test)
        else:
            test()


def _run_check(exam: Exam) -> None:
    module = _module(exam)
    exam.report.run("check", lambda: module.check(exam.program.get(exam.entry_point)))


def _run_functions(exam: Exam) -> None:
    module = _module(exam)
    for name in exam.outline.names:
        group, _, function = name.rpartition(".")
        exam.report.run(name, _bound(module, group, function))


def _bound(module: types.ModuleType, group: str, function: str) -> _Test:
    def test() -> None:
        owner = getattr(module, group)() if group else module
        set_up = getattr(owner, "setup_method" if group else "setup_function", None)
        if set_up is not None:
            set_up() if group else set_up(getattr(owner, function))
        getattr(owner, function)()

    return test


class _Results(unittest.TestResult):
    """Reports the ends of unittest's tests."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report
        self._ends: dict[str, tuple[str, str]] = {}

    def _end(self, test: unittest.TestCase, state: str, note: str) -> None:
        # A failed subtest, or a failed clean-up, comes beside the end of its test: failing wins.
        if self._ends.get(_case_name(test), ("", ""))[0] != "failed":
            self._ends[_case_name(test)] = state, note

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
        super().stopTest(test)
        self._report.tell(_case_name(test), *self._ends.get(_case_name(test), ("failed", "")))

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self._end(test, "passed", "")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self._end(test, "skipped", reason)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._end(test, "failed", described(err[1]))

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._end(test, "failed", described(err[1]))

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._end(test, "passed", "")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self._end(test, "failed", "passed, and was expected not to")

    def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:  # noqa: N802
        if err is not None:
            self._end(test, "failed", described(err[1]))


def _case_name(test: unittest.TestCase) -> str:
    return ".".join(test.id().split(".")[-2:])


def _run_unittest(exam: Exam) -> None:
    suite = unittest.defaultTestLoader.loadTestsFromModule(_module(exam))
    suite.run(_Results(exam.report))


_STYLES: dict[str, Callable[[Exam], None]] = {
    "asserts": _run_asserts,
    "check": _run_check,
    "functions": _run_functions,
    "unittest": _run_unittest,
    "pytest": run_pytest,
}
