"""From the body of a function, or the function alone, to the program that its prompt began."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from halo_forge.rlvr.verifiers.languages import Language
from halo_forge.rlvr.verifiers.lexical import bare_code, defines

__all__ = ["completed"]


def completed(code: str, prompt: str, entry: str, language: Language) -> str:
    """Return the program that an answer and its prompt make together."""
    lines = prompt.splitlines()
    head = next((n for n, line in enumerate(lines) if _opens(line, entry)), None)
    if head is None:
        return code
    first = next((n for n, line in enumerate(lines) if language.starts.match(line)), head)
    given = "\n".join(lines[first:head])
    if defines(bare_code(code, language), entry):
        return f"{given}\n{code}" if given.strip() else code
    body = textwrap.indent(textwrap.dedent(code.strip("\n")), "    ")
    return "\n".join([given, _signature(lines[head:]), body]) + "\n"


def _opens(line: str, entry: str) -> bool:
    return re.match(rf"(?:async\s+)?def\s+{re.escape(entry)}\s*\(", line) is not None


def _signature(lines: Sequence[str]) -> str:
    """Return the head of a function, to the colon that ends it."""
    kept = []
    for line in lines:
        kept.append(line)
        if line.split("#")[0].rstrip().endswith(":"):
            break
    return "\n".join(kept)
