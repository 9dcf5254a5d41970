"""Stand-ins: what the tests hold in the place of the program's functions and objects.

A stand-in hands a call over and returns a plain value, which is compared here. Where a comparison
itself would be the program's to answer, it is not asked: an object that a program returned is
equal to nothing but itself. Only objects that the tests made, by calling a class of the program,
compare with each other by their own rules; that is noted, since a class may lie about itself.
"""

from __future__ import annotations

import builtins
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from halo_forge.rlvr.verifiers.exam.wire import Closed, Refused, Wire

__all__ = ["Program"]


class Program:
    """The program under test, as far as its answers tell.

    Attributes:
        gone: Why it answers no more; empty while it does.
        out_of_time: That is because it used up its CPU time.
        believed: It was asked how objects of its own compare.
    """

    def __init__(self, channel: socket.socket, child: int, entry_point: str) -> None:
        self._child = child
        self._entry_point = entry_point
        self._wire = Wire(channel, self._handle, self._resolve)
        self._functions: list[Callable[..., Any]] = []
        self._errors: dict[str, type[BaseException]] = {}
        self._hear: Callable[[dict[str, Any]], None] = lambda _: None
        self.gone = ""
        self.out_of_time = self.believed = False

    def ask(self, *question: Any) -> list[Any]:
        """Return the answer to a question.

        Raises:
            Exception: What the program raised, as the nearest class known here.
        """
        if self.gone:
            raise RuntimeError(self.gone)
        try:
            self._wire.send(*question)
            while True:
                word, *rest = self._wire.receive()
                if word == "callback":
                    self._wire.send(*self._called_back(*rest))
                elif word == "told":
                    self._hear(*rest)
                else:
                    break
        except Refused as error:
            raise TypeError(f"cannot be handed to the program: {error}") from None
        except Closed as error:
            self.gone = self._ending() or str(error)
            raise RuntimeError(self.gone) from None
        if word == "raised":
            names, message, printed = rest
            sys.stdout.write(printed)
            if "Exception" not in names:
                self.gone = f"the program ended itself ({message})"
                raise RuntimeError(self.gone)
            raise self._error(names, message)
        return [word, *rest]

    def load(self) -> None:
        """Have the program run on its side."""
        self.ask("load")

    def run_tests(
        self,
        source: str,
        entry_point: str,
        packages: str | None,
        hear: Callable[[dict[str, Any]], None],
    ) -> None:
        """Have tests run in the program's own process, which tells what came of each.

        Raises:
            RuntimeError: If the process has ended.
        """
        self._hear = hear
        self.ask("tests", source, entry_point, packages)

    def module(self, name: str) -> ModuleType:
        """Return a module whose names are the program's."""
        return _ProgramModule(name, self)

    def get(self, name: str) -> Any:
        """Return what a name of the program means to the tests.

        Raises:
            AttributeError: If the program has no such name.
        """
        kind, *rest = self.ask("kind", name)
        if kind == "absent":
            raise AttributeError(f"the program has no {name}")
        if kind == "value":
            return self.ask("global", name)[1]
        if kind == "error":
            return self._errors.setdefault(name, _local_error(name, rest[0]))
        return _Standin(self, ["n", name], makes=kind == "class" and name != self._entry_point)

    def names(self) -> list[str]:
        """Return what ``import *`` gives."""
        return [name for name in self.ask("names") if isinstance(name, str)]

    def call(self, target: list[Any], use: str, args: tuple[Any, ...], named: Any = None) -> Any:
        """Use a function or object of the program, and take over what it did to the arguments."""
        given = list(args)
        _, result, printed, left = self.ask("call", _Handle(target), use, given, named or {})
        sys.stdout.write(printed)
        if left is not None:
            before, after = (*args, *(named or {}).values()), (*left[0], *left[1].values())
            for old, new in zip(before, after, strict=True):
                _take_over(old, new)
        return result

    def _handle(self, value: Any) -> list[Any]:
        if isinstance(value, _Handle):
            return value.word
        if isinstance(value, _Standin):
            return object.__getattribute__(value, "_word")  # type: ignore[no-any-return]
        if callable(value):
            self._functions.append(value)
            return ["f", len(self._functions) - 1]
        raise Refused(f"an object of class {type(value).__name__}")

    def _resolve(self, word: list[Any]) -> Any:
        kind, number = word
        if kind == "f":
            return self._functions[number]
        return _Standin(self, ["o", int(number)])

    def _called_back(self, function: Any, args: list[Any], named: dict[str, Any]) -> list[Any]:
        try:
            return ["value", self._functions[function](*args, **named)]
        except Exception as error:  # noqa: BLE001 - the program that called is told
            return ["raised", [], f"{type(error).__name__}: {error}", ""]

    def _error(self, names: list[str], message: str) -> BaseException:
        for name in names:
            kind = self._errors.get(name) or getattr(builtins, name, None)
            if isinstance(kind, type) and issubclass(kind, Exception):
                try:
                    return kind(message)
                except TypeError:
                    continue
        return RuntimeError(message)

    def _ending(self) -> str:
        _, status = os.waitpid(self._child, 0)
        if os.WIFSIGNALED(status):
            self.out_of_time = os.WTERMSIG(status) == signal.SIGXCPU
            return (
                "hit the cpu limit"
                if self.out_of_time
                else f"the program was ended by signal {os.WTERMSIG(status)}"
            )
        return "the program ended itself"


class _Handle:
    """A target of a call, already in the words of the wire."""

    def __init__(self, word: list[Any]) -> None:
        self.word = word


class _Standin:
    """Stands for a function, a class or an object of the program."""

    def __init__(
        self, program: Program, word: list[Any], *, makes: bool = False, made: bool = False
    ) -> None:
        fields = {"_program": program, "_word": word, "_makes": makes, "_made": made}
        object.__getattribute__(self, "__dict__").update(fields)

    def __call__(self, *args: Any, **named: Any) -> Any:
        result = self._program.call(self._word, "__call__", args, named)
        if self._makes and isinstance(result, _Standin):
            object.__setattr__(result, "_made", True)
        return result

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self._program.call(self._word, "__getattr__", (name,))

    def __setattr__(self, name: str, value: Any) -> None:
        self._program.call(self._word, "__setattr__", (name, value))

    def __len__(self) -> int:
        return self._use("__len__")  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Any]:
        return self._use("__iter__")  # type: ignore[no-any-return]

    def __next__(self) -> Any:
        return self._use("__next__")

    def __getitem__(self, key: Any) -> Any:
        return self._use("__getitem__", key)

    def __bool__(self) -> bool:
        return bool(self._use("__bool__"))

    def __str__(self) -> str:
        return str(self._use("__str__"))

    def __repr__(self) -> str:
        return "<an object of the program>"

    def __hash__(self) -> int:
        return hash(str(self._word))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _Standin) and self._word == other._word:
            return True
        return self._believes(other) and bool(self._use("__eq__", other))

    def __contains__(self, item: object) -> bool:
        if self._made:
            self._program.believed = True
            return bool(self._use("__contains__", item))
        return any(item is one or item == one for one in self)

    def _believes(self, other: object) -> bool:
        """Tell whether the program is asked how this and ``other`` compare."""
        both = self._made and isinstance(other, _Standin) and bool(vars(other)["_made"])
        self._program.believed |= both
        return both

    def _use(self, use: str, *args: Any) -> Any:
        return self._program.call(self._word, use, args)


def _operator(use: str) -> Callable[[_Standin, Any], Any]:
    def apply(self: _Standin, other: Any) -> Any:
        return self._use(use, other) if self._believes(other) else NotImplemented

    return apply


for _name in ("__lt__", "__le__", "__gt__", "__ge__", "__add__", "__sub__", "__mul__"):
    setattr(_Standin, _name, _operator(_name))


class _ProgramModule(ModuleType):
    """A module whose names are the program's."""

    def __init__(self, name: str, program: Program) -> None:
        super().__init__(name)
        self.__dict__["_program"] = program

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return self._program.names()
        if name.startswith("__"):
            raise AttributeError(name)
        return self._program.get(name)


def _local_error(name: str, bases: list[str]) -> type[BaseException]:
    known = (getattr(builtins, base, None) for base in bases)
    kinds = [kind for kind in known if isinstance(kind, type) and issubclass(kind, Exception)]
    return type(name, (kinds[0] if kinds else Exception,), {})


def _take_over(old: Any, new: Any) -> None:
    """Make an argument what the call left of it."""
    kind = type(old)
    if kind not in (list, bytearray, dict, set) or kind is not type(new) or old == new:
        return
    old.clear()
    (old.extend if kind in (list, bytearray) else old.update)(new)
