"""Private tests of LiveCodeBench, read without running what a stranger wrote.

They are published as base64 of zlib of a pickle of a JSON text, and a pickle is a program. Here
it is taken apart by the opcodes of a plain text (PEP 307 and 3154; `pickletools`), and anything
else in it is refused before anything is built.
"""

from __future__ import annotations

import base64
import binascii
import pickletools
import zlib

__all__ = ["SealedTestsError", "open_sealed"]

_LARGEST = 1 << 30
_TEXTS = frozenset({"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"})
_FRAME = frozenset({"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "STOP"})


class SealedTestsError(ValueError):
    """The sealed text is damaged, too large, or is no text at all."""


def open_sealed(sealed: str) -> str:
    """Return the text within base64, zlib and pickle.

    Raises:
        SealedTestsError: If there is anything but one text in it.
    """
    try:
        packed = base64.b64decode(sealed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SealedTestsError(f"not base64: {error}") from error
    return _only_text(_unpacked(packed))


def _unpacked(packed: bytes) -> bytes:
    """Decompress, to a limit: a few kilobytes can hold gigabytes of zeros."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(packed, _LARGEST)
    except zlib.error as error:
        raise SealedTestsError(f"not zlib: {error}") from error
    if stream.unconsumed_tail:
        raise SealedTestsError(f"larger than {_LARGEST >> 20} MiB")
    if not stream.eof:
        raise SealedTestsError("cut off")
    return data


def _only_text(data: bytes) -> str:
    """Return the one text in a pickle; its opcodes are listed, not executed."""
    try:
        steps = [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(data)]
    except (ValueError, UnicodeError, IndexError) as error:
        raise SealedTestsError(f"not a pickle: {error}") from error
    foreign = [name for name, _ in steps if name not in _TEXTS | _FRAME]
    if foreign:
        raise SealedTestsError(f"the pickle does more than hold a text: {foreign[0]}")
    texts = [argument for name, argument in steps if name in _TEXTS]
    if len(texts) != 1 or not isinstance(texts[0], str):
        raise SealedTestsError(f"one text is wanted, {len(texts)} are there")
    return texts[0]
