"""The substance gate: is there a program here at all, before any reward for compiling it.

An empty ``main`` compiles, and a reward for compiling alone makes it the best answer there is.
The gate is pure and lexical. It asks for signs of work, not for right work: it must never turn
away an honest short program, and it is no judge of a long pointless one (tests are).
"""

from __future__ import annotations

import re

from halo_forge.rlvr.verifiers.languages import Language
from halo_forge.rlvr.verifiers.lexical import bare_code, defines

__all__ = ["hollow"]

_COPY_MIN = 32
"""Characters without white space from which code found word for word in the prompt is a copy."""

_C_TYPES = (
    r"u?int\w*|long|short|char|float|double|void|bool|auto|const|unsigned|signed|string|size_t"
)
_WORK_WORDS = {
    "c": "for|while|do|if|switch|throw|goto|asm|__asm__|new|delete",
    "rust": "for|while|loop|if|match",
    "go": "for|if|switch|select|go|defer|goto",
    "csharp": "for|foreach|while|do|if|switch|throw|goto|new|lock|await|yield",
}
_WORK_SIGNS = {"rust": r"\b[a-z_]\w*!\s*[(\[{]", "go": "<-"}


def _work(lexis: str) -> re.Pattern[str]:
    return re.compile(
        rf"""\b(?:{_WORK_WORDS[lexis]})\b | {_WORK_SIGNS.get(lexis, "<<")}
          | <<|>>|\+\+|--|[-+*/%&|^]=|[=!]=|&&|\|\|
          | (?<=[\w)\]])(?<!return)\s*[-+/%^]\s*[\w(]
          | (?<![\w:>])(?!(?:{_C_TYPES})\b)[A-Za-z_]\w*\s*\*\s*\w
          | (?:^|[;{{}}()=,!?\[.]|(?<!:):(?!:)|\breturn\b|\belse\b)[ \t]*(?:::)?(?:\w++::)*+
            (?!(?:main|sizeof|return|decltype|alignof)\b)[A-Za-z_]\w*\s*
            (?:<[^;{{}}()]{{0,200}}>)?\s*\(
        """,
        re.VERBOSE | re.MULTILINE,
    )


# In PowerShell a word alone is a command.
_WORK = {lexis: _work(lexis) for lexis in _WORK_WORDS} | {"powershell": re.compile(r"\w")}
_MAIN_HEAD = re.compile(r"\bmain\s*\([^(){}]*\)")
_PY_BLOCK = re.compile(r"(?:async\s+)?def\b|class\b|@")
_PY_IMPORT = re.compile(r"(?:import|from)\b")
_PY_CALL = re.compile(
    r"(?<!\w)(?!(?:if|elif|while|in|and|or|not|return|is|assert|lambda|for|else|yield|del|await)\b)"
    r"[A-Za-z_]\w*\s*\(|[\])]\s*\("
)
_SPACE = re.compile(r"\s+")


def hollow(
    code: str,
    language: Language,
    *,
    prompt: str = "",
    entry_point: str | None = None,
    needs_io: bool = False,
    library: bool = False,
) -> str | None:
    """Return why ``code`` is not a program worth compiling, or ``None`` if it may be one.

    Args:
        code: Source text, without fences.
        language: What it is written in.
        prompt: The task's text; code that stands in it word for word is a copy.
        entry_point: Name that must be defined; the language's own when absent.
        needs_io: The task gives input or expects output, so the program must read or print.
        library: Functions of the program are called, so it need not do anything by itself.
    """
    bare = bare_code(code, language)
    if not bare.replace('""', "").strip(" \t\r\n\f\v;\\"):
        return "the program is empty"
    if _is_copy(code, prompt):
        return "the program is a copy of the prompt"
    name = entry_point or language.entry
    if name is not None and not defines(bare, name):
        return f"the program has no {name}()"
    if language.lexis != "python":
        works = _WORK[language.lexis].search(_MAIN_HEAD.sub("main()", bare))
        idle = None if works else "the program does nothing"
    else:
        idle = None if library or entry_point is not None else _python_idle(bare)
    if idle is None and needs_io and not language.speaks.search(bare):
        return "the program neither reads input nor prints"
    return idle


def _is_copy(code: str, prompt: str) -> bool:
    squeezed = _SPACE.sub("", code)
    return len(squeezed) >= _COPY_MIN and squeezed in _SPACE.sub("", prompt)


def _python_idle(bare: str) -> str | None:
    top = _top_level(bare)
    if _PY_CALL.search(top) or re.search(r"\bimport\s+this\b", bare):
        return None
    if _PY_CALL.search(bare):
        return "the program defines functions or classes but never uses them"
    return "the program does nothing"


def _top_level(bare: str) -> str:
    """Return the lines that run when the program starts: no bodies of functions or classes."""
    kept = []
    inside: int | None = None
    depth = 0
    keeping = True
    for line in bare.split("\n"):
        text = line.strip()
        if depth == 0 and text:
            indent = len(line) - len(line.lstrip())
            if inside is None or indent <= inside:
                inside = indent if _PY_BLOCK.match(text) else None
                keeping = inside is None
        if keeping:
            kept.append(text.partition(";")[2] if _PY_IMPORT.match(text) else text)
        depth = max(0, depth + sum(map(line.count, "([{")) - sum(map(line.count, ")]}")))
    return "\n".join(kept)
