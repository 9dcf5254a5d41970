"""Tests and program in one process: for tests that cannot be run apart from what they test.

Such a process can be made to say anything, so what it says is weak. Two things are asked of it all
the same: each test that the source names must have ended, and one test more, which no process of
good faith can pass, must have failed.
"""

from __future__ import annotations

import ast
import sys
import types
import zlib
from typing import Any

from halo_forge.rlvr.verifiers.exam.reading import skippable, style_of, test_names
from halo_forge.rlvr.verifiers.exam.report import Exam, Report
from halo_forge.rlvr.verifiers.exam.standin import Program
from halo_forge.rlvr.verifiers.exam.styles import settle_style

__all__ = ["LocalProgram", "oversee"]

_WORDS = ("again", "edges", "empty", "large", "mixed", "order", "small", "types")
_TAMPERED = "the program tampered with its tests"


class LocalProgram:
    """The program as a module of this process; a `Subject` of tests.

    Args:
        path: Its file.
        module: What it is to be in.
    """

    gone = ""
    out_of_time = believed = False

    def __init__(self, path: str, module: types.ModuleType) -> None:
        self._path = path
        self._module = module

    def load(self) -> None:
        """Run it."""
        with open(self._path, "rb") as file:  # noqa: PTH123 - pathlib would be one more import
            code = compile(file.read(), self._path, "exec", dont_inherit=True)
        sys.modules[self._module.__name__] = self._module
        exec(code, self._module.__dict__)  # noqa: S102 - what this process is for

    def get(self, name: str) -> Any:
        """Return what the program calls ``name``."""
        return getattr(self._module, name)

    def module(self, _: str) -> types.ModuleType:
        """Return the program."""
        return self._module


def oversee(exam: Exam, program: Program, packages: str | None) -> None:
    """Have the tests of an exam run in the process of the program, and report what it says.

    Raises what `settle_style` does.

    Args:
        exam: The tests.
        program: The process.
        packages: Folder of packages that the tests may need.
    """
    source = exam.source
    if settle_style(exam) == "check":
        source = _as_function(exam)
    tree = ast.parse(source)
    style = style_of(tree)
    source, canary = _with_canary(source, tree, style)
    names = test_names(tree, style)
    account = _Account(exam.report, names, canary, skippable(tree))
    exam.report.announce(names)
    exam.report.loading()
    try:
        program.run_tests(source, exam.entry_point, packages, account.hear)
    except Exception as error:  # noqa: BLE001 - whatever ends the tests fails the rest of them
        exam.report.give_up(str(error))
    if not account.credible:
        account.revoke()
    exam.report.end()


def _as_function(exam: Exam) -> str:
    """Return ``check(candidate)`` as a test function, beside which others can stand."""
    tree = ast.parse(exam.source)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "check":
            node.name = "_check"
    return f"{ast.unparse(tree)}\n\ndef test_check():\n    _check({exam.entry_point})\n"


class _Account:
    """What the process says of its tests, and whether it can be true.

    Args:
        report: Takes what makes sense.
        names: The tests that the source names.
        canary: The one that must fail.
        skippable: Those that may be skipped.
    """

    def __init__(self, report: Report, names: list[str], canary: str, skippable: set[str]) -> None:
        self._report = report
        self._expected = set(names)
        self._canary = canary
        self._skippable = skippable
        self._names = list(names)
        self._ends: dict[str, str] = {}
        self._strange = False

    def hear(self, line: dict[str, Any]) -> None:
        """Take a line of the report and pass it on as far as it makes sense."""
        if "tests" in line:
            told = [name for name in line["tests"] if name != self._canary]
            self._strange |= {_plain(name) for name in told} != self._expected
            if not self._strange:
                self._names = told
                self._report.announce(told)
        elif "id" in line:
            name, state, note = line["id"], line["state"], line["note"]
            if state == "skipped" and _plain(name) not in self._skippable:
                state, note = "failed", f"skipped, and not by the tests: {note}"
            if self._ends.get(name) != "failed":
                self._ends[name] = state
            if name in self._names:
                self._report.tell(name, state, note)

    @property
    def credible(self) -> bool:
        """The test that must fail has failed, or the tests were broken off before it."""
        passed = all(self._ends.get(name) in {"passed", "skipped"} for name in self._names)
        caught = self._ends.get(self._canary) == "failed"
        return not self._strange and (caught or (self._canary not in self._ends and not passed))

    def revoke(self) -> None:
        """Fail everything."""
        for name in self._names:
            self._report.tell(name, "failed", _TAMPERED)


def _plain(name: str) -> str:
    """Return a test's name without its parameters, as the source has it."""
    return name.partition("[")[0].replace("::", ".")


def _with_canary(source: str, tree: ast.Module, style: str) -> tuple[str, str]:
    """Return the tests with one that must fail, and its name."""
    known = set(test_names(tree, style))
    start = zlib.crc32(source.encode("utf-8", "surrogatepass"))
    words = (_WORDS[(start + step) % len(_WORDS)] for step in range(len(_WORDS)))
    name = next((f"test_{word}" for word in words if f"test_{word}" not in known), "test_more")
    if style == "asserts":
        line = source.count("\n") + 2
        return f"{source}\nassert object() == object()\n", f"line {line}"
    if style == "unittest":
        case = f"class More(__import__('unittest').TestCase):\n    def {name}(self):\n"
        return f"{source}\n\n{case}        self.assertIs(object(), object())\n", f"More.{name}"
    return f"{source}\n\ndef {name}():\n    assert object() == object()\n", name
