"""Source text without its comments and strings, so that words in them do not count.

Lexical on purpose: the text comes from a model, and a real parser in the trainer's process would
be one more thing a hostile program can exhaust or crash. Every pattern takes linear time.
"""

from __future__ import annotations

import re

from halo_forge.rlvr.verifiers.languages import Language

__all__ = ["bare_code", "defines"]

_C = re.compile(
    r"""(?P<comment> //(?:[^\\\n]|\\.)* | /\*.*?(?:\*/|\Z) )
      | (?P<string> \bR"(?P<fence>[^\s()\\"]{0,16})\(.*?(?:\)(?P=fence)"|\Z)
                  | "(?:[^"\\\n]|\\.)*"? )
      | (?P<char> (?<![0-9])'(?:[^'\\\n]|\\.)*' )
    """,
    re.VERBOSE | re.DOTALL,
)
_PYTHON = re.compile(
    r"""(?P<comment> \#[^\n]* )
      | (?P<prefix>\b[rRbBuUfF]{1,2})?
        (?P<string> \"{3}(?:[^\\]|\\.)*?(?:\"{3}|\Z) | '{3}(?:[^\\]|\\.)*?(?:'{3}|\Z)
                  | "(?:[^"\\\n]|\\.)*"? | '(?:[^'\\\n]|\\.)*'? )
    """,
    re.VERBOSE | re.DOTALL,
)
_FIELD = re.compile(r"\{([^{}]*)\}")


def bare_code(code: str, language: Language) -> str:
    """Return ``code`` with comments removed and strings emptied (``""``).

    Fields of Python f-strings stay, since they hold code. For C and C++ the text of ``#if 0``
    blocks and the names of included headers go as well.
    """
    if language.lexis == "python":
        return _PYTHON.sub(_emptied_python, code)
    return _without_dead_lines(_C.sub(_emptied_c, code))


def defines(code: str, name: str) -> bool:
    """Whether text that `bare_code` returned seems to define (or call) ``name``."""
    word = re.escape(name)
    return re.search(rf"\b{word}\s*\(|\b(?:def|class|struct)\s+{word}\b", code) is not None


def _emptied_c(found: re.Match[str]) -> str:
    if found["comment"] is not None:
        return " "
    return '""' if found["string"] is not None else "''"


def _emptied_python(found: re.Match[str]) -> str:
    if found["comment"] is not None:
        return ""
    if "f" in (found["prefix"] or "").lower():
        fields = _FIELD.findall(found["string"].replace("{{", "").replace("}}", ""))
        return f'"" {" ".join(f"({field})" for field in fields)}'
    return '""'


def _without_dead_lines(code: str) -> str:
    """Drop ``#include`` lines and everything between ``#if 0`` and its end."""
    kept = []
    dead = 0
    for line in code.split("\n"):
        directive = line.lstrip()
        if dead:
            dead += directive.startswith("#if") - directive.startswith("#endif")
            if dead == 1 and directive.startswith("#el"):
                dead = 0
        elif re.match(r"#\s*if\s+(?:0|false)\s*$", directive):
            dead = 1
        elif not re.match(r"#\s*include\b", directive):
            kept.append(line)
    return "\n".join(kept)
