"""What builds share and a worker keeps: headers read once, lists of packages made once.

Of headers that is the exact sequence at the head of a program, or its beginning: a larger
precompiled header would let a program pass that forgot an include, and that is to be learned.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import TypeVar

from halo_forge.core.identity import content_id
from halo_forge.rlvr.verifiers.toolchain import DRIVER, Toolchain
from halo_forge.sandbox import Kept, Limits, Step

__all__ = ["Preambles", "exact_preamble", "precompiled", "stock"]

_T = TypeVar("_T")
_FIRST, _MORE = 4, 32
_LONGEST = 16
_REMEMBERED = 4096
_LIMITS = Limits(cpu=60, memory=2 << 30, file_size=256 << 20, disk=256 << 20)

_HEADER = "preamble.h"
_INCLUDE = re.compile(r"[ \t]*#[ \t]*include[ \t]*<([a-z0-9_][a-z0-9_/.+]*)>[ \t]*(//.*)?")
_BLANK = re.compile(r"[ \t]*(?://.*|/\*(?:[^*]|\*(?!/))*\*/[ \t]*)?")
# GCC joins such a line with the next one, even in a comment.
_CONTINUED = re.compile(r"(?:\\|\?\?/)[ \t\v\f]*$")


def exact_preamble(source: str) -> tuple[str, ...]:
    """Return the system headers that a program includes before anything else, in its order.

    Between them may stand blank lines and comments of one line; anything else ends the preamble.
    """
    headers = []
    for line in source.split("\n"):
        found = _INCLUDE.fullmatch(line)
        if _CONTINUED.search(line) or (found is None and not _BLANK.fullmatch(line)):
            break
        if found is not None:
            if ".." in found[1]:
                break
            headers.append(found[1])
    return tuple(headers)


class Preambles:
    """Chooses which headers are worth precompiling, by what programs include; thread-safe.

    A program can use the precompiled beginning of its preamble as well as the whole. What is wanted
    often enough is made: making it costs three to four times what it saves a build, and what it
    saves beyond a shorter one that is there is little.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: OrderedDict[Hashable, int] = OrderedDict()
        self._chosen: OrderedDict[Hashable, None] = OrderedDict()

    def choose(self, toolchain: str, headers: tuple[str, ...]) -> tuple[str, ...]:
        """Count a program that includes ``headers``; return those of them to have precompiled."""
        beginnings = [headers[:length] for length in range(1, min(len(headers), _LONGEST) + 1)]
        with self._lock:
            there = [one for one in beginnings if (toolchain, one) in self._chosen][-1:]
            longer = beginnings[len(there[0]) if there else 0 :]
            for one in longer:
                _remember(self._wanted, (toolchain, one), self._count(toolchain, one) + 1)
            enough = _MORE if there else _FIRST
            worthy = [one for one in longer if self._count(toolchain, one) >= enough][-1:]
            best = next(iter(worthy or there), ())
            if worthy:
                self._settle(toolchain, [one for one in longer if len(one) < len(best)], best)
            if best:
                _remember(self._chosen, (toolchain, best), None)
            return best

    def _count(self, toolchain: str, headers: tuple[str, ...]) -> int:
        return self._wanted.get((toolchain, headers), 0)

    def _settle(
        self, toolchain: str, shorter: list[tuple[str, ...]], best: tuple[str, ...]
    ) -> None:
        """Count no more, for its beginnings, the programs that ``best`` will serve."""
        for one in shorter:
            served = min(self._count(toolchain, one), self._count(toolchain, best))
            _remember(self._wanted, (toolchain, one), self._count(toolchain, one) - served)


def _remember(table: OrderedDict[Hashable, _T], key: Hashable, value: _T) -> None:
    """Put a value in a table of bounded size, from which the longest unused goes."""
    table[key] = value
    table.move_to_end(key)
    if len(table) > _REMEMBERED:
        table.popitem(last=False)


def precompiled(
    headers: tuple[str, ...],
    toolchain: Toolchain,
    driver: str,
    version: str,
    flags: tuple[str, ...],
) -> Kept:
    """Return the precompiled ``headers`` that the build of a program can use.

    Args:
        headers: The preamble of the program, or its beginning.
        toolchain: A toolchain that precompiles headers.
        driver: Absolute path of the driver.
        version: What the driver says about its version.
        flags: Flags of the build, which must be those of the header.
    """
    argv = [driver if part == DRIVER else part for part in toolchain.precompile]
    text = "".join(f"#include <{header}>\n" for header in headers)
    return Kept(
        key=content_id([driver, version, [*argv, *flags], list(headers)]),
        files={_HEADER: text.encode("ascii")},
        build=Step((*argv, *flags), limits=_LIMITS),
        names=(f"{_HEADER}.gch", _HEADER),  # should GCC refuse the one, it reads the other
        flags=("-include", "{kept}/" + _HEADER),
    )


def stock(toolchain: Toolchain, driver: str, version: str, flags: tuple[str, ...]) -> Kept | None:
    """Return what all builds by a toolchain can use, if there is anything.

    Args:
        toolchain: The toolchain.
        driver: Absolute path of the driver.
        version: What the driver says about its version.
        flags: Flags of the build; with any there is no stock, which is made without.
    """
    if toolchain.stock is None or flags:
        return None
    return Kept(
        key=content_id([driver, version, toolchain.stock]),
        files={},
        build=Step(tuple(toolchain.stock_argv(driver)), limits=_LIMITS),
        names=toolchain.stock[1],
        flags=("-kept={kept}",),
    )
