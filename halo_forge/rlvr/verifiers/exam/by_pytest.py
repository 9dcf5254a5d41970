"""Tests that need pytest, run by pytest."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import sys
import types
from typing import Any

from halo_forge.rlvr.verifiers.exam.outline import MODULE
from halo_forge.rlvr.verifiers.exam.report import Exam

__all__ = ["run_pytest", "warm_up_pytest"]


def run_pytest(exam: Exam) -> None:
    """Have pytest run the tests of an exam, and report on each."""
    report = exam.report

    class Listener:
        """Reports what pytest collects and how each test ends."""

        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            report.announce([_name(item.nodeid) for item in items])

        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.when == "call" or report.outcome != "passed":
                crash = getattr(report.longrepr, "reprcrash", None)
                exam.report.tell(
                    _name(report.nodeid), report.outcome, getattr(crash, "message", "")
                )

    _run(exam.source, Listener())


def warm_up_pytest() -> None:
    """Have pytest load and settle what every run of it needs, by a test that passes."""
    with contextlib.redirect_stdout(io.StringIO()):
        _run("def test(): assert 1 == 1")
    del sys.modules[MODULE]


_PLACE = os.__file__
"""Where pytest believes the tests to be.

The program could read a file that holds them, and write settings or a conftest.py beside one of
ours; it can write nothing here.
"""

_OPTIONS = (
    "-q", "--noconftest", "--capture=sys", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir",
)  # fmt: skip


def _run(source: str, *plugins: object) -> None:
    import pytest

    class Tests(pytest.Module):
        """The tests out of memory."""

        def _getobj(self) -> types.ModuleType:
            return _explaining_module(source, self.config)

    class Source:
        """Puts them in the place of a file."""

        def pytest_pycollect_makemodule(self, module_path: Any, parent: Any) -> Any:
            return Tests.from_parent(parent, path=module_path)

    # Plug-ins that happen to be installed would decide how tests run, and in which order.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    folder = _PLACE.rpartition("/")[0]
    pytest.main([*_OPTIONS, folder, _PLACE], plugins=[Source(), *plugins])
    del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]


def _name(identifier: str) -> str:
    return identifier.partition("::")[2]


def _explaining_module(source: str, config: Any) -> types.ModuleType:
    """Return the tests as a module whose asserts say what they compared, as pytest's do."""
    from _pytest.assertion.rewrite import rewrite_asserts

    tree = ast.parse(source)
    rewrite_asserts(tree, source.encode(), _PLACE, config)
    module = sys.modules[MODULE] = types.ModuleType(MODULE)
    exec(compile(tree, _PLACE, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the tests are the user's
    return module
