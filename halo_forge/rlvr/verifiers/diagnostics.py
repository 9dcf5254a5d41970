"""What a compiler, an interpreter or a dying program said, made short and safe to show."""

from __future__ import annotations

import re

from halo_forge.rlvr.verifiers.toolchain import Toolchain
from halo_forge.utils.text import printable

__all__ = ["first_error", "quoted", "shown"]

_CAP = 2048
_LINES = 3
_HEAD = 256 << 10


def shown(text: str, cap: int = _CAP) -> str:
    """Return ``text`` without control characters, at most ``cap`` characters long."""
    return printable(text) if len(text) <= cap else printable(text[: cap - 1]) + "\u2026"


def quoted(text: str, cap: int = 60) -> str:
    """Return ``text`` as a short quotation on one line."""
    return "'" + shown(text, cap).replace("\n", "\\n").replace("\t", "\\t") + "'"


def first_error(
    stderr: bytes, toolchain: Toolchain, *, last: bool = False
) -> tuple[str, str] | None:
    """Return the first diagnostic in ``stderr`` and its class, or ``None`` when it is silent.

    Args:
        stderr: What was written to standard error.
        toolchain: Whose diagnostics they are.
        last: Look for the last one instead (a traceback ends with what matters).
    """
    text = stderr[-_HEAD:] if last else stderr[:_HEAD]
    lines = [line.rstrip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        return None
    hits = [line for line in lines if toolchain.error.search(line)]
    chosen = hits[-1:] if last else hits[:_LINES]
    message = "\n".join(chosen or (lines[-1:] if last else lines[:_LINES]))
    return shown(message), _kind(chosen[0] if chosen else "", toolchain)


def _kind(line: str, toolchain: Toolchain) -> str:
    for kind, pattern in toolchain.kinds:
        if pattern.search(line):
            return kind
    named = re.search(r"\b([A-Z]\w*(?:Error|Exception))\b", line)
    return named[1] if named and not toolchain.kinds else "other"
