"""The candidate: runs the program, and answers what the other side asks of it.

::

    ["load"]                        -> ["done"]
    ["kind", name]                  -> ["function"], ["class"], ["error", bases], ["value"] or
                                       ["absent"]
    ["names"]                       -> [public name, ...]
    ["global", name]                -> ["value", v]
    ["call", target, use, a, k]     -> ["value", v, printed, a and k as the call left them]
    ["tests", source, entry_point, packages]
                                    -> ["told", line of the report], ..., ["done"]

and instead of any of these ``["raised", classes, message, printed]``. ``target`` is a function or
an object of the program, ``use`` the special method that an operator stands for, or any other
method. While a call is under way, a function of the tests that it was given is called back:
``["callback", function, a, k]`` -> ``["value", v]`` or ``["raised", ...]``.
"""

from __future__ import annotations

import contextlib
import io
import socket
import sys
import types
from collections.abc import Callable
from typing import Any

from halo_forge.rlvr.verifiers.exam.report import Exam, Report
from halo_forge.rlvr.verifiers.exam.together import LocalProgram
from halo_forge.rlvr.verifiers.exam.wire import Closed, Wire

__all__ = ["serve"]

_MODULE = "solution"
_PRINTED = 64 << 10
_MESSAGE = 500
_MUTABLE = (list, dict, set, bytearray)


def serve(channel: socket.socket, path: str, borrowed: dict[str, types.ModuleType]) -> None:
    """Answer questions about the program in ``path`` until nobody asks any more.

    Args:
        channel: Where questions come from.
        path: File of the program.
        borrowed: Modules that are loaded and that only tests may find.
    """
    candidate = _Candidate(channel, path, borrowed)
    with contextlib.suppress(Closed):
        while True:
            candidate.answer(candidate.wire.receive())


class _Candidate:
    """The program as a module, and its objects by number."""

    def __init__(
        self, channel: socket.socket, path: str, borrowed: dict[str, types.ModuleType]
    ) -> None:
        self.wire = Wire(channel, self._handle, self._resolve)
        self._module = types.ModuleType(_MODULE)
        self._program = LocalProgram(path, self._module)
        self._borrowed = borrowed
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def answer(self, question: list[Any]) -> None:
        """Answer one question, whatever the program does about it."""
        word, *rest = question
        try:
            answer = getattr(self, f"_{word}")(*rest)
            self.wire.send(*answer)
        except Closed:
            raise
        except BaseException as error:  # noqa: BLE001 - a program's error is an answer
            self.wire.send(*_raised(error))

    def _handle(self, value: Any) -> list[Any]:
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):
            self._objects.append(value)  # kept, so that its id stays its own
        return ["o", number]

    def _resolve(self, word: list[Any]) -> Any:
        kind, key = word
        if kind == "n":
            return getattr(self._module, key)
        if kind == "f":
            return lambda *args, **named: self._call_back(key, list(args), named)
        return self._objects[key]

    def _call_back(self, function: int, args: list[Any], named: dict[str, Any]) -> Any:
        """Call a function of the tests, and answer what it asks meanwhile."""
        self.wire.send("callback", function, args, named)
        while True:
            word, *rest = self.wire.receive()
            if word == "value":
                return rest[0]
            if word == "raised":
                raise RuntimeError(rest[1])
            self.answer([word, *rest])

    def _load(self) -> list[Any]:
        with contextlib.redirect_stdout(io.StringIO()):
            self._program.load()
        return ["done"]

    def _tests(self, source: str, entry_point: str, packages: str | None) -> list[Any]:
        from halo_forge.rlvr.verifiers.exam.styles import run_tests  # seldom needed

        sys.path += [packages] if packages else []
        sys.modules.update(self._borrowed)
        report = Report(lambda line: self.wire.send("told", line), self._program)
        run_tests(Exam(source, entry_point, self._program, report))
        return ["done"]

    def _kind(self, name: str) -> list[Any]:
        found = getattr(self._module, name, self)
        if found is self:
            return ["absent"]
        if isinstance(found, type):
            bases = _bases(found)
            return ["error", bases] if "BaseException" in bases else ["class"]
        return ["function" if callable(found) else "value"]

    def _names(self) -> list[str]:
        listed = getattr(self._module, "__all__", None)
        return list(listed or [one for one in vars(self._module) if not one.startswith("_")])

    def _global(self, name: str) -> list[Any]:
        return ["value", getattr(self._module, name)]

    def _call(self, target: Any, use: str, args: list[Any], named: dict[str, Any]) -> list[Any]:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                result = _use(target, use)(*args, **named)
        except Closed:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit, too, fails one call only
            return [*_raised(error)[:-1], printed.getvalue()[:_PRINTED]]
        changeable = any(isinstance(value, _MUTABLE) for value in (*args, *named.values()))
        left = [args, named] if changeable else None
        return ["value", result, printed.getvalue()[:_PRINTED], left]


def _use(target: Any, use: str) -> Callable[..., Any]:
    if use in _OPERATORS:
        return lambda *args: _OPERATORS[use](target, *args)
    return target if use == "__call__" else getattr(target, use)  # type: ignore[no-any-return]


_OPERATORS: dict[str, Callable[..., Any]] = {
    "__getattr__": getattr,
    "__setattr__": setattr,
    "__iter__": iter,
    "__next__": next,
    "__len__": len,
    "__bool__": bool,
    "__str__": str,
    "__repr__": repr,
    "__hash__": hash,
    "__eq__": lambda target, other: bool(target == other),
    "__lt__": lambda target, other: bool(target < other),
    "__le__": lambda target, other: bool(target <= other),
    "__gt__": lambda target, other: bool(target > other),
    "__ge__": lambda target, other: bool(target >= other),
    "__add__": lambda target, other: target + other,
    "__sub__": lambda target, other: target - other,
    "__mul__": lambda target, other: target * other,
    "__contains__": lambda target, item: item in target,
    "__getitem__": lambda target, key: target[key],
}
"""Operators whose special method must not be called by hand: Python does more than that."""


def _bases(kind: type) -> list[str]:
    return [base.__name__ for base in kind.__mro__]


def _raised(error: BaseException) -> list[Any]:
    return ["raised", _bases(type(error)), f"{type(error).__name__}: {error}"[:_MESSAGE], ""]
