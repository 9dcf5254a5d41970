"""Source text without its comments and strings, so that words in them do not count.

Lexical on purpose: the text comes from a model, and a real parser in the trainer's process would
be one more thing a hostile program can exhaust or crash. Every pattern takes linear time.
"""

from __future__ import annotations

import re

from halo_forge.rlvr.verifiers.languages import Language

__all__ = ["bare_code", "defines", "masked_code"]

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
_RUST = re.compile(
    r"""(?P<comment> //[^\n]* | /\*.*?(?:\*/|\Z) )
      | (?P<string> \b[bc]?r(?P<fence>\#{0,16})".*?(?:"(?P=fence)|\Z) | \b[bc]?"(?:[^"\\]|\\.)*"?
                  | "(?:[^"\\]|\\.)*"? )
      | (?P<char> '(?:[^'\\\n]|\\(?:u\{[0-9a-fA-F_]{1,8}\}|x..|[^ux\n]))' )
    """,
    re.VERBOSE | re.DOTALL,
)
_GO = re.compile(
    r"""(?P<comment> //[^\n]* | /\*.*?(?:\*/|\Z) )
      | (?P<string> `[^`]*(?:`|\Z) | "(?:[^"\\\n]|\\.)*"? )
      | (?P<char> '(?:[^'\\\n]|\\.)*' )
    """,
    re.VERBOSE | re.DOTALL,
)
_CSHARP = re.compile(
    r"""(?P<comment> //[^\n]* | /\*.*?(?:\*/|\Z) )
      | (?P<string> \$*"{3}.*?(?:"{3}|\Z) | (?:@\$|\$@|@)"(?:[^"]|"")*(?:"|\Z)
                  | \$?"(?:[^"\\\n]|\\.)*"? )
      | (?P<char> '(?:[^'\\\n]|\\.){1,8}' )
    """,
    re.VERBOSE | re.DOTALL,
)
_POWERSHELL = re.compile(
    r"""(?P<comment> <\#.*?(?:\#>|\Z) | (?<![\w`])\#[^\n]* )
      | (?P<string> @"[ \t]*\n.*?(?:\n"@|\Z) | @'[ \t]*\n.*?(?:\n'@|\Z)
                  | "(?:[^"`]|`.|"")*(?:"|\Z) | '(?:[^']|'')*(?:'|\Z) )
    """,
    re.VERBOSE | re.DOTALL,
)
_BRACES = {"c": _C, "rust": _RUST, "go": _GO, "csharp": _CSHARP, "powershell": _POWERSHELL}
_DIRECTIVE = re.compile(r"^[ \t]*#[^\n]*", re.MULTILINE)
_FIELD = re.compile(r"\{([^{}]*)\}")


def bare_code(code: str, language: Language) -> str:
    """Return ``code`` with comments removed and strings emptied (``""``).

    Fields of Python f-strings stay, since they hold code. For C and C++ the text of ``#if 0``
    blocks and the names of included headers go as well.
    """
    if language.lexis == "python":
        return _PYTHON.sub(_emptied_python, code)
    bare = _BRACES[language.lexis].sub(_emptied, code)
    return _without_dead_lines(bare) if language.lexis == "c" else bare


def masked_code(code: str, language: Language) -> str:
    """Return ``code`` with blanks in the place of comments, strings and ``#`` lines of C."""
    pattern = _PYTHON if language.lexis == "python" else _BRACES[language.lexis]
    masked = pattern.sub(_blanked, code)
    return _DIRECTIVE.sub(_blanked, masked) if language.lexis == "c" else masked


def defines(code: str, name: str, *, calls: bool = True) -> bool:
    """Whether text that `bare_code` returned seems to define or assign ``name``.

    Args:
        code: The text.
        name: The name.
        calls: Take a call for a definition, where only a parser could tell them apart.
    """
    word = re.escape(name)
    pattern = rf"\b(?:def|class|struct)\s+{word}\b|^[ \t]*{word}[ \t]*(?::[^=\n]*)?=(?!=)"
    if calls:
        pattern = rf"\b{word}\s*\(|{pattern}"
    return re.search(pattern, code, re.MULTILINE) is not None


def _blanked(found: re.Match[str]) -> str:
    return "".join("\n" if c == "\n" else " " for c in found[0])


def _emptied(found: re.Match[str]) -> str:
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
