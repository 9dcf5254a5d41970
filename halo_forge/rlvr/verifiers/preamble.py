"""What builds share and a worker keeps: headers read once, lists of packages made once.

Of headers that is the exact sequence at the head of a program: a larger precompiled header would
let a program pass that forgot an include, and that is a thing to be learned.
"""

from __future__ import annotations

import re

from halo_forge.core.identity import content_id
from halo_forge.rlvr.verifiers.toolchain import DRIVER, Toolchain
from halo_forge.sandbox import Kept, Limits, Step

__all__ = ["exact_preamble", "precompiled", "stock"]

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


def precompiled(
    source: str, toolchain: Toolchain, driver: str, version: str, flags: tuple[str, ...]
) -> Kept | None:
    """Return the precompiled preamble that the build of ``source`` can use, if it has any.

    Args:
        source: The program.
        toolchain: Its toolchain.
        driver: Absolute path of the driver.
        version: What the driver says about its version.
        flags: Flags of the build, which must be those of the header.
    """
    headers = exact_preamble(source) if toolchain.precompile else ()
    if not headers:
        return None
    argv = [driver if part == DRIVER else part for part in toolchain.precompile]
    text = "".join(f"#include <{header}>\n" for header in headers)
    return Kept(
        key=content_id([driver, version, [*argv, *flags], list(headers)]),
        files={_HEADER: text.encode("ascii")},
        build=Step((*argv, *flags), limits=_LIMITS),
        names=(f"{_HEADER}.gch",),
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


_LIMITS = Limits(cpu=60, memory=2 << 30, file_size=256 << 20, disk=256 << 20)
