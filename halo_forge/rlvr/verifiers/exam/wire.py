"""Values as JSON, by their content: what crosses the wall is data, never behaviour.

A value of a built-in type arrives as an equal value of that type. A subclass of a built-in type
arrives as what it holds, so an ``__eq__`` of its own stays behind. Anything else is sent by a
`Wire`'s handle: a number by which the other side can ask for it.
"""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

__all__ = ["MAX_MESSAGE", "Closed", "Refused", "Wire"]

MAX_MESSAGE = 32 << 20
"""Bytes of one message; a larger one ends the conversation."""

_MAX_DEPTH = 200
_SMALL = 1 << 53

_Handle = Callable[[Any], list[Any]]
_Resolve = Callable[[list[Any]], Any]


class Closed(Exception):
    """The other side is gone, or does not keep to the language."""


class Refused(Exception):
    """A value cannot cross: too deep, or of a kind that is not data."""


class Wire:
    """One end of the conversation.

    Args:
        channel: A connected stream socket.
        handle: Returns what stands for a value that is not data; raises `Refused` if nothing may.
        resolve: Returns what such a stand-in means on this side.
    """

    def __init__(self, channel: socket.socket, handle: _Handle, resolve: _Resolve) -> None:
        self._channel = channel
        self._handle = handle
        self._resolve = resolve

    def send(self, *words: Any) -> None:
        """Send words, each a value.

        Raises:
            Closed: If nobody listens any more.
            Refused: If a value cannot cross; nothing is sent then.
        """
        text = json.dumps([self._packed(word, 0) for word in words]).encode("ascii")
        if len(text) > MAX_MESSAGE:
            raise Refused(f"a value of {len(text)} bytes")
        try:
            self._channel.sendall(struct.pack("!I", len(text)) + text)
        except OSError as error:
            raise Closed(str(error)) from error

    def receive(self) -> list[Any]:
        """Return the words of the next message.

        Raises:
            Closed: If the other side is gone, or sent what is no message.
        """
        (size,) = struct.unpack("!I", self._read(4))
        if size > MAX_MESSAGE:
            raise Closed(f"a message of {size} bytes")
        try:
            words = json.loads(self._read(size))
            if not isinstance(words, list):
                raise Closed("no list of words")
            return [self._unpacked(word) for word in words]
        except (ValueError, TypeError, KeyError, IndexError, ArithmeticError) as error:
            raise Closed(f"{type(error).__name__}: {error}") from error
        except RecursionError as error:
            raise Closed("too deep") from error

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self._channel.recv(min(size - len(parts), 1 << 16))
            except OSError as error:
                raise Closed(str(error)) from error
            if not part:
                raise Closed("the other side is gone")
            parts += part
        return bytes(parts)

    def _packed(self, value: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise Refused("a value nested too deeply")
        plain = _scalar(value)
        if plain is not None or value is None:
            return plain
        for kind, tag, parts in _CONTAINERS:
            if issubclass(type(value), kind):
                return [tag, *(self._packed(part, depth + 1) for part in parts(value))]
        return self._handle(value)

    def _unpacked(self, word: Any) -> Any:
        if not isinstance(word, list):
            if isinstance(word, dict):
                raise Closed("an object")
            return word
        tag, *rest = word
        if tag in _SCALARS:
            return _SCALARS[tag](*rest)
        if tag in _REBUILD:
            return _REBUILD[tag]([self._unpacked(part) for part in rest])
        return self._resolve(word)


def _scalar(value: Any) -> Any:
    """Return a word for a value without parts, by its content, or None."""
    # By its type, since isinstance() would believe what an object says of its own class.
    for kind, word in _WORDS:
        if issubclass(type(value), kind):
            return word(value)
    return None


def _integer(value: int) -> Any:
    number = int.__index__(value)
    return number if -_SMALL < number < _SMALL else ["i", hex(number)]


def _complex(value: complex) -> list[Any]:
    number = complex.__complex__(value)
    return ["c", number.real, number.imag]


def _date(value: dt.date) -> list[Any]:
    date = dt.date.timetuple(value)
    return ["date", date.tm_year, date.tm_mon, date.tm_mday]


def _moment(value: dt.datetime) -> list[Any]:
    if dt.datetime.utcoffset(value) is not None:
        raise Refused("a time with a zone")
    return ["datetime", dt.datetime.isoformat(value)]


def _pairs(value: Any) -> list[Any]:
    return [part for pair in dict.items(value) for part in pair]


def _items(value: Any) -> list[Any]:
    """Return the names of a named tuple, or None, and the items."""
    return [getattr(type(value), "_fields", None), *tuple.__iter__(value)]


def _tuple(parts: list[Any]) -> Any:
    fields, *items = parts
    return tuple(items) if fields is None else collections.namedtuple("Tuple", fields)(*items)


# Methods of the built-in types are called by name, so that a subclass cannot put in its own.
_WORDS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (bool, bool),
    (int, _integer),
    (float, float.__float__),
    (str, str.__str__),
    (bytes, lambda value: ["b", bytes.hex(value)]),
    (bytearray, lambda value: ["ba", bytearray.hex(value)]),
    (complex, _complex),
    (decimal.Decimal, lambda value: ["decimal", decimal.Decimal.__str__(value)]),
    (fractions.Fraction, lambda value: ["fraction", hex(value.numerator), hex(value.denominator)]),
    (dt.datetime, _moment),
    (dt.date, _date),
    (dt.timedelta, lambda value: ["span", value.days, value.seconds, value.microseconds]),
    (range, lambda value: ["range", value.start, value.stop, value.step]),
    (type(Ellipsis), lambda _: ["ellipsis"]),
)

_CONTAINERS: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (list, "l", list.__iter__),
    (tuple, "t", _items),
    (set, "s", set.__iter__),
    (frozenset, "fs", frozenset.__iter__),
    (collections.Counter, "counter", _pairs),
    (collections.OrderedDict, "od", _pairs),
    (dict, "d", _pairs),
    (collections.deque, "q", collections.deque.__iter__),
)

_SCALARS: dict[str, Callable[..., Any]] = {
    "i": lambda text: int(text, 16),
    "b": bytes.fromhex,
    "ba": bytearray.fromhex,
    "c": complex,
    "decimal": decimal.Decimal,
    "fraction": lambda over, under: fractions.Fraction(int(over, 16), int(under, 16)),
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date,
    "span": dt.timedelta,
    "range": range,
    "ellipsis": lambda: ...,
}


def _mapping(kind: Callable[[Any], Any]) -> Callable[[list[Any]], Any]:
    return lambda parts: kind(dict(zip(parts[::2], parts[1::2], strict=True)))


_REBUILD: dict[str, Callable[[list[Any]], Any]] = {
    "l": list,
    "t": _tuple,
    "s": set,
    "fs": frozenset,
    "counter": _mapping(collections.Counter),
    "od": _mapping(collections.OrderedDict),
    "d": _mapping(dict),
    "q": collections.deque,
}
