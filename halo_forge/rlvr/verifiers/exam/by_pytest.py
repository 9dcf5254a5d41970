"""Tests that need pytest, run by pytest."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import pathlib
import sys
import types
from collections.abc import Callable
from typing import Any

from halo_forge.rlvr.verifiers.exam.outline import MODULE
from halo_forge.rlvr.verifiers.exam.report import Exam, Report

__all__ = ["run_pytest", "with_pytest_ready"]

_PLACE = os.__file__
"""Where pytest believes the tests to be.

The program could read a file that holds them, and write settings or a conftest.py beside one of
ours; it can write nothing here.
"""

_OPTIONS = (
    "-q", "--noconftest", "--capture=sys", "-c", os.devnull, "--rootdir", _PLACE.rpartition("/")[0],
    "--tb=native",  # others read source code to show it
    # What would change the process for good.
    *("-p", "no:cacheprovider", "-p", "no:faulthandler"),
    *("-p", "no:unraisableexception", "-p", "no:threadexception"),
)  # fmt: skip
_AUTOLOAD = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"

_ready: list[Any] = []
"""The session of pytest that this process is in, if it is in one."""


def run_pytest(exam: Exam) -> None:
    """Have pytest run the tests of an exam, and report on each."""
    if _ready:
        _examine(_ready[0], exam.source, _Listener(exam.report))
    else:
        _in_session(lambda session: _examine(session, exam.source, _Listener(exam.report)))


def with_pytest_ready(go_on: Callable[[], None]) -> None:
    """Call ``go_on`` in a session of pytest, which `run_pytest` then uses.

    A test that passes comes first: it has pytest load what every run of it needs.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        _in_session(lambda session: _examine(session, "def test(): assert 1 == 1"))
    del sys.modules[MODULE]

    def begin(session: Any) -> None:
        _ready.append(session)
        go_on()

    _in_session(begin)


def _in_session(then: Callable[[Any], None]) -> None:
    import pytest

    class Instead:
        """Does something else than collecting tests."""

        def pytest_collection(self, session: Any) -> bool:
            then(session)
            session.items = []  # nothing is left to be run
            return True

    # Plug-ins that happen to be installed would decide how tests run, and in which order.
    os.environ[_AUTOLOAD] = "1"
    try:
        pytest.main([*_OPTIONS], plugins=[Instead()])
    finally:
        os.environ.pop(_AUTOLOAD, None)


def _examine(session: Any, source: str, *plugins: object) -> None:
    import pytest

    class Tests(pytest.Module):
        """The tests out of memory."""

        def _getobj(self) -> types.ModuleType:
            return _explaining_module(source, self.config)

    os.environ.pop(_AUTOLOAD, None)
    config, hook = session.config, session.config.hook
    for plugin in plugins:
        config.pluginmanager.register(plugin)
    # A test may break off all of them: pytest.exit() is one way.
    with contextlib.suppress(pytest.exit.Exception, KeyboardInterrupt, session.Failed):
        # What session.perform_collect() does, which would look for files.
        items = list(session.genitems(Tests.from_parent(session, path=pathlib.Path(_PLACE))))
        hook.pytest_collection_modifyitems(session=session, config=config, items=items)
        hook.pytest_collection_finish(session=session)
        session.items, session.testscollected = items, len(items)
        hook.pytest_runtestloop(session=session)


class _Listener:
    """Reports what pytest collects and how each test ends."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        self._report.announce([_name(item.nodeid) for item in items])

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            crash = getattr(report.longrepr, "reprcrash", None)
            self._report.tell(_name(report.nodeid), report.outcome, getattr(crash, "message", ""))


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
