"""The ways tests are written: asserts, ``check(candidate)``, functions, unittest, pytest."""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import importlib
import importlib.util
import json
import os
import sys
import tempfile
import types
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from halo_forge.rlvr.verifiers.exam.standin import Program, ProgramModule

__all__ = ["Exam", "Report", "run_tests"]

_TESTS = "tests"
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_Test = Callable[[], Any]


class Report:
    """Tells the other side of the sandbox what came of each test, as soon as it is known.

    Args:
        descriptor: Where to write; nothing else writes there.
        program: Whose end fails the test that it came in, whatever the test made of it.
    """

    def __init__(self, descriptor: int, program: Program) -> None:
        self._descriptor = descriptor
        self._program = program
        self._untold: list[str] = []

    def announce(self, names: list[str]) -> None:
        """Name all tests there are, before any is run."""
        self._untold = names
        self._write({"tests": names})

    def loading(self) -> None:
        """Say that from here on the program has a part in whatever happens."""
        self._write({"loading": True})

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

    def run(self, name: str, test: _Test) -> None:
        """Run a test, unless the program has ended."""
        if self._program.gone:
            return
        try:
            test()
        except unittest.SkipTest as error:
            self.tell(name, "skipped", str(error))
        except Exception as error:  # noqa: BLE001 - any error fails the test
            self.tell(name, "failed", _described(error))
        else:
            self.tell(name, "passed")

    def end(self) -> None:
        """Say that there is nothing more to come."""
        program = self._program
        self._write({"out_of_time": program.out_of_time, "believed": program.believed})

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")


@dataclass(frozen=True)
class Exam:
    """Tests, and the program they are about.

    Attributes:
        source: The tests.
        entry_point: Function asked for, or "" when the tests name what they call.
        program: The program under test.
        report: Takes what comes of each test.
    """

    source: str
    entry_point: str
    program: Program
    report: Report

    @functools.cached_property
    def tree(self) -> ast.Module:
        """The tests, parsed."""
        return ast.parse(self.source)


def run_tests(exam: Exam) -> None:
    """Run the tests of an exam and report on each.

    Raises:
        SyntaxError: If the tests are no Python.
        ValueError: If they do not say which function they are about.
        ImportError: If they need pytest and it is not here.
    """
    style = _style(exam.tree)
    if style == "check" and not exam.entry_point:
        raise ValueError("tests of the form check(candidate) need an entry_point")
    if style == "pytest":
        importlib.import_module("pytest")
    # What pytest makes of a file with parameters is known only later.
    exam.report.announce(_test_names(exam.tree, style))
    exam.report.loading()
    try:
        exam.program.ask("load")
        _provide(exam)
        _STYLES[style](exam)
    except Exception as error:  # noqa: BLE001 - whatever ends the tests fails the rest of them
        exam.report.give_up(_described(error))
    exam.report.end()


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _style(tree: ast.Module) -> str:
    functions = [one for one in tree.body if isinstance(one, ast.FunctionDef)]
    if any(_is_case(one) for one in tree.body):
        return "unittest"
    if "pytest" in _imported(tree) or any(_needs_fixture(one) for one in _test_functions(tree)):
        return "pytest"
    if any(one.name == "check" and len(one.args.args) == 1 for one in functions):
        return "check"
    return "functions" if _test_functions(tree) else "asserts"


def _is_case(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and any(
        ast.unparse(base).rpartition(".")[2].endswith("TestCase") for base in node.bases
    )


def _needs_fixture(function: ast.FunctionDef) -> bool:
    args = function.args
    wanted = [one.arg for one in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    return bool([one for one in wanted if one != "self"] or function.decorator_list)


def _test_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    found = [one for one in tree.body if isinstance(one, ast.FunctionDef)]
    for group in tree.body:
        if isinstance(group, ast.ClassDef) and group.name.startswith("Test"):
            found += [one for one in group.body if isinstance(one, ast.FunctionDef)]
    return [one for one in found if one.name.startswith("test")]


def _test_names(tree: ast.Module, style: str) -> list[str]:
    if style == "check":
        return ["check"]
    if style == "asserts":
        return [f"line {node.lineno}" for node in tree.body if _holds_assert(node)]
    return [
        f"{group}{function.name}"
        for group, body in _groups(tree)
        for function in body
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test")
    ]


def _groups(tree: ast.Module) -> Iterator[tuple[str, list[ast.stmt]]]:
    yield "", tree.body
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and (node.name.startswith("Test") or _is_case(node)):
            yield f"{node.name}.", node.body


def _holds_assert(node: ast.stmt) -> bool:
    if isinstance(node, _SCOPES):
        return False
    return any(isinstance(inner, ast.Assert) for inner in ast.walk(node))


def _imported(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def _provide(exam: Exam) -> None:
    """Let the tests find the program: as a module they import, and under bare names."""
    for name in _imported(exam.tree):
        if name == "solution" or importlib.util.find_spec(name) is None:
            sys.modules[name] = ProgramModule(name, exam.program)
    for name in _free_names(exam.tree):
        # A name that the program lacks is a NameError of the test that uses it.
        with contextlib.suppress(AttributeError):
            setattr(builtins, name, exam.program.get(name))


def _free_names(tree: ast.Module) -> set[str]:
    """Return the names that are read somewhere and bound nowhere in the tests."""
    read: set[str] = set()
    bound: set[str] = set(dir(builtins))
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name) | ast.arg(arg=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.alias(name=name, asname=other):
                bound.add(other or name.partition(".")[0])
            case ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case _:
                pass
    return read - bound


def _module(source: str) -> types.ModuleType:
    module = types.ModuleType(_TESTS)
    sys.modules[_TESTS] = module
    exec(compile(source, f"{_TESTS}.py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the tests are the user's
    return module


def _run_asserts(exam: Exam) -> None:
    module = types.ModuleType(_TESTS)
    for node in exam.tree.body:
        code = compile(ast.Module([node], []), f"{_TESTS}.py", "exec", dont_inherit=True)

        def test(code: types.CodeType = code) -> None:
            exec(code, module.__dict__)  # noqa: S102 - the tests are the user's

        if _holds_assert(node):
            exam.report.run(f"line {node.lineno}", test)
        else:
            test()


def _run_check(exam: Exam) -> None:
    module = _module(exam.source)
    exam.report.run("check", lambda: module.check(exam.program.get(exam.entry_point)))


def _run_functions(exam: Exam) -> None:
    module = _module(exam.source)
    for name in _test_names(exam.tree, "functions"):
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
        self._end(test, "failed", _described(err[1]))

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._end(test, "failed", _described(err[1]))

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._end(test, "passed", "")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self._end(test, "failed", "passed, and was expected not to")

    def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:  # noqa: N802
        if err is not None:
            self._end(test, "failed", _described(err[1]))


def _case_name(test: unittest.TestCase) -> str:
    return ".".join(test.id().split(".")[-2:])


def _run_unittest(exam: Exam) -> None:
    suite = unittest.defaultTestLoader.loadTestsFromModule(_module(exam.source))
    suite.run(_Results(exam.report))


def _run_pytest(exam: Exam) -> None:
    import pytest

    # The program could read a file with the tests, so pytest is given an empty one.
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, f"test_{_TESTS}.py")  # noqa: PTH118 - no pathlib here
    os.close(os.open(path, os.O_CREAT))

    class Tests(pytest.Module):
        """The tests out of memory."""

        def _getobj(self) -> types.ModuleType:
            return _explaining_module(exam.source, path, self.config)

    class Plugin:
        """Reports what pytest collects and how each test ends."""

        def pytest_pycollect_makemodule(self, module_path: Any, parent: Any) -> Any:
            return Tests.from_parent(parent, path=module_path)

        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            exam.report.announce([item.nodeid.partition("::")[2] for item in items])

        def pytest_runtest_logreport(self, report: Any) -> None:
            name = report.nodeid.partition("::")[2]
            if report.when == "call" or report.outcome != "passed":
                crash = getattr(report.longrepr, "reprcrash", None)
                exam.report.tell(name, report.outcome, getattr(crash, "message", ""))

    options = ["-q", "--rootdir", folder, "-p", "no:cacheprovider", "-o", "addopts="]
    pytest.main([*options, path], plugins=[Plugin()])


def _explaining_module(source: str, path: str, config: Any) -> types.ModuleType:
    """Return the tests as a module whose asserts say what they compared, as pytest's do."""
    from _pytest.assertion.rewrite import rewrite_asserts

    tree = ast.parse(source)
    rewrite_asserts(tree, source.encode(), path, config)
    module = types.ModuleType(_TESTS)
    sys.modules[_TESTS] = module
    exec(compile(tree, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the tests are the user's
    return module


_STYLES: dict[str, Callable[[Exam], None]] = {
    "asserts": _run_asserts,
    "check": _run_check,
    "functions": _run_functions,
    "unittest": _run_unittest,
    "pytest": _run_pytest,
}
