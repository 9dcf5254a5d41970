"""Values that cross the wall between tests and program arrive as what they are."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.rlvr.verifiers.exam.wire import Closed, Refused, Wire


def _refuse(value: object) -> list[Any]:
    raise Refused(type(value).__name__)


@contextmanager
def _pair() -> Iterator[tuple[Wire, Wire, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield Wire(one, _refuse, lambda word: word), Wire(other, _refuse, lambda word: word), one


def _across(value: Any) -> Any:
    with _pair() as (here, there, _):
        here.send(value)
        return there.receive()[0]


_plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(allow_nan=False),
    st.text(),
    st.text(st.characters()),
    st.binary(max_size=20),
    st.binary(max_size=20).map(bytearray),
    st.complex_numbers(allow_nan=False),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.just(...),
    st.integers(-9, 9).map(lambda n: range(n, 2 * n, n or 1)),
)
_hashable = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.dates())
_values = st.recursive(
    _plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(collections.deque),
        st.dictionaries(_hashable, inner, max_size=4),
        st.dictionaries(_hashable, inner, max_size=4).map(collections.OrderedDict),
        st.sets(_hashable, max_size=4),
        st.frozensets(_hashable, max_size=4),
        st.dictionaries(st.text(), st.integers(), max_size=4).map(collections.Counter),
    ),
    max_leaves=12,
)


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple | collections.deque):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


@settings(max_examples=150, deadline=None)
@given(_values)
def test_values_arrive_as_they_are(value: Any) -> None:
    """Every plain value arrives equal and of the same type, all the way down."""
    assert _same(_across(value), value)


def test_floats_that_are_no_numbers() -> None:
    """Infinities and NaN cross too."""
    assert _across(float("inf")) == float("inf")
    assert _across([float("nan")])[0] != _across(float("nan"))


class _Liar:
    """Claims to be equal to anything, in every way there is."""

    __class__ = int  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


def test_subclasses_arrive_as_what_they_hold() -> None:
    """What a subclass says of itself stays behind."""

    class Number(int):
        def __eq__(self, other: object) -> bool:
            return True

        def __index__(self) -> int:
            return 42

        def __hash__(self) -> int:
            return 42

    class Row(list[int]):
        def __iter__(self) -> Iterator[int]:
            return iter([42])

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "42"

    for value, plain in ((Number(7), 7), (Row([1, 2]), [1, 2]), (Text("x"), "x")):
        arrived = _across(value)
        assert type(arrived) is type(plain)
        assert arrived == plain
        assert arrived != 42


def test_named_tuples_keep_their_names() -> None:
    """A named tuple is equal to the tuple and has its fields."""
    point = collections.namedtuple("Point", "x y")(1, [2])
    arrived = _across(point)
    assert arrived == (1, [2])
    assert (arrived.x, arrived.y) == (1, [2])


@pytest.mark.parametrize(
    "value",
    [object(), _Liar(), len, lambda: 0, iter([]), dt.datetime.now(dt.UTC), Exception],
    ids=["object", "liar", "function", "lambda", "iterator", "zone", "class"],
)
def test_what_is_no_data_is_refused(value: Any) -> None:
    """Without a handle for it, what is not data does not cross, and nothing is sent."""
    with _pair() as (here, there, _):
        with pytest.raises(Refused):
            here.send([value])
        here.send("next")
        assert there.receive() == ["next"]


def test_depth_and_circles_are_refused() -> None:
    """A value that is too deep, or contains itself, does not cross."""
    circle: list[Any] = []
    circle.append(circle)
    deep: list[Any] = []
    for _ in range(1000):
        deep = [deep]
    for value in (circle, deep):
        with pytest.raises(Refused, match="deep"):
            _across(value)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00\x00\x00\x05",
        b"\x00\x00\x00\x02{}",
        b"\x00\x00\x00\x021]",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x04[[]]",
        b'\x00\x00\x00\x09[["i",1]]',
        b'\x00\x00\x00\x0b[["i","z"]]',
        b'\x00\x00\x00\x0b[["s",["l"]]]'[:15],
        b'\x00\x00\x00\x0e[["t",["l",1]]]'[:19],
        b'\x00\x00\x00\x0c[{"a": [1]}]',
        b"\x00\x01\x86\xa0" + b"[" * 100_000,
    ],
)
def test_nonsense_ends_the_conversation(message: bytes) -> None:
    """Whatever is no message is said to be none, and never anything else."""
    with _pair() as (_, there, raw):
        raw.sendall(message)
        raw.shutdown(socket.SHUT_WR)
        with pytest.raises(Closed):
            there.receive()


def test_numbers_of_any_size() -> None:
    """Large exact numbers arrive exactly."""
    assert _across(7**5000) == 7**5000
    assert _across(-(2**53)) == -(2**53)
    assert _across(fractions.Fraction(3**400, 7**300)) == fractions.Fraction(3**400, 7**300)
    assert _across(decimal.Decimal("1E+400")) == decimal.Decimal("1E+400")
