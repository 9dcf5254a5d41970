"""Code in texts: fenced blocks, whether a program is whole, which language it is in.

Nothing here runs or imports anything. Python is read by its own parser, which is certain; of other
languages only comments, strings and brackets are understood, which is a good guess and is called
one (`Flaw.certain`).
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from halo_forge.utils.text import language_name

__all__ = ["Block", "Flaw", "code_blocks", "find_flaw", "kindred", "misnamed", "normal_tokens"]

_LARGEST = 200_000
"""Characters of a program that is looked at; a longer one is a file, not an answer."""

# Possessive, so that a long line that is no fence after all is read once.
_FENCE = re.compile(
    r"[ \t>]*+(?:(?:[-*+]|\d{1,9}[.)])[ \t]*+)?(?P<marker>`{3,}+|~{3,}+)(?P<info>[^`\n]*)$"
)
_QUOTED = re.compile(r"^[ \t]*>[ \t]?")
_INFO = re.compile(r"[\s,:;=(}]")

_RAW = r"""\bR"(?P<fence>[^\s()\\"]{0,16})\(.*?(?:\)(?P=fence)"|\Z)
         | \bb?r(?P<hashes>\#+)".*?(?:"(?P=hashes)|\Z) | \$?@\$?"(?:[^"]|"")*(?:"|\Z)"""
_REST = r"""(?P<number> \d(?:[\w.]|'(?=\w))* ) | (?P<name> [^\W\d]\w* )
        | (?P<sign> ->|::|[^\w\s] )"""
_C_LIKE = r"""(?P<comment> //[^\n]* | /\*.*?(?:\*/|\Z) )
            | (?P<string> %s | "(?:[^"\\\n]|\\.)*"? | %s | `[^`]*(?:`|\Z) ) | %s"""
_TEXTS, _CHARACTERS = r"'(?:[^'\\\n]|\\.)*'?", r"'(?:[^'\\\n]|\\[^\n]{1,10}?)'"
_HASH = r"""(?P<comment> \#[^\n]* )
          | (?P<string> \b[rRbBuUfF]{0,2}(?: \"{3}(?:[^\\]|\\.)*?(?:\"{3}|\Z)
                                           | '{3}(?:[^\\]|\\.)*?(?:'{3}|\Z)
                                           | "(?:[^"\\\n]|\\.)*"? | '(?:[^'\\\n]|\\.)*'? )
                      | (?:\"{3}(?:[^\\]|\\.)*?(?:\"{3}|\Z) | '{3}(?:[^\\]|\\.)*?(?:'{3}|\Z)
                         | "(?:[^"\\\n]|\\.)*"? | '(?:[^'\\\n]|\\.)*'? )) | %s"""


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.VERBOSE | re.DOTALL)


_BRACES = _compiled(_C_LIKE % (_RAW, _TEXTS, _REST))
_BRACES_AND_LIFETIMES = _compiled(_C_LIKE % (_RAW, _CHARACTERS, _REST))
_INDENTED = _compiled(_HASH % _REST)
_LEXERS = MappingProxyType(
    dict.fromkeys(
        ("c", "cpp", "csharp", "go", "java", "javascript", "kotlin", "scala", "swift",
         "typescript"),
        _BRACES,
    )
    | {"rust": _BRACES_AND_LIFETIMES}
)  # fmt: skip

_WORDS = """self match case auto bool break case catch char class const constexpr continue default
    delete do double else enum explicit export extern false final float for foreach friend func fn
    go if impl import in inline int int32_t int64_t interface let long loop main map move mut
    namespace new null nullptr operator package private protected pub public range return short
    signed sizeof static std string String struct super switch template this throw throws trait
    true try type typedef typename u8 u32 u64 i32 i64 uint uint64_t union unsigned use using usize
    var vector Vec virtual void volatile where while yield"""
_KEPT = frozenset({*keyword.kwlist, *dir(builtins), *_WORDS.split()})
_MEMBER = frozenset({".", "->", "::"})
_OPENING, _CLOSING = MappingProxyType({"{": "}", "(": ")", "[": "]"}), frozenset("})]")

_ALIKE = ({"c", "cpp"}, {"javascript", "typescript"})
_SIGNS = MappingProxyType({
    "cpp": (r"^[ \t]*#[ \t]*include\s*[<\"]", r"\bint\s+main\s*\(",
            r"\bstd::(?:cout|cin|vector|string)\b", r"\busing\s+namespace\s+std\b"),
    "csharp": (r"^[ \t]*using\s+System\b", r"\bConsole\s*\.\s*(?:Write|Read)",
               r"\bstatic\s+\w+\s+Main\s*\("),
    "go": (r"^package\s+\w+\s*$", r"^func\s+(?:\([^()\n]*\)\s*)?\w+\s*\(", r"\bfmt\.\w+\("),
    "java": (r"\bpublic\s+static\s+void\s+main\b", r"\bSystem\.(?:out|in)\b",
             r"^import\s+java\.", r"^public\s+(?:final\s+)?class\b"),
    "javascript": (r"\bconsole\.log\(", r"^[ \t]*(?:const|let)\s+[\w{\[][^=\n]*=",
                   r"^[ \t]*(?:export\s+)?(?:async\s+)?function\s*\w*\s*\(", r"=>\s*\{"),
    "python": (r"^[ \t]*(?:async\s+)?def\s+\w+\s*\(.*\)\s*(?:->[^:\n]+)?:", r"^[ \t]*elif\b.*:",
               r"^from\s+\w[\w.]*\s+import\s", r"^class\s+\w+(?:\(.*\))?:", r"\bself\.\w+"),
    "rust": (r"^[ \t]*(?:pub\s+)?fn\s+\w+\s*[<(]", r"\blet\s+mut\b", r"\bprintln!\s*\(",
             r"^[ \t]*use\s+std::", r"^[ \t]*impl\b[^\n]*\{"),
})  # fmt: skip
_SEEN = {
    name: tuple(re.compile(sign, re.MULTILINE) for sign in signs) for name, signs in _SIGNS.items()
}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its text, the language it claims (empty for none), whether it is closed."""

    code: str
    tag: str
    closed: bool


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a program.

    Attributes:
        rule: ``truncated-code`` when it ends in the middle, ``syntax`` when it cannot be read.
        certain: A parser said so; else it is a guess from brackets.
    """

    rule: str
    message: str
    certain: bool


def code_blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a text (CommonMark 0.31, 4.5), in lists and quotes too."""
    if "```" not in text and "~~~" not in text:
        return []
    found: list[Block] = []
    marker, tag, quoted, body = "", "", False, list[str]()
    for line in text.splitlines():
        fence = _FENCE.match(line) if "```" in line or "~~~" in line else None
        if not marker:
            if fence:
                marker, tag, body = fence["marker"], _tag(fence["info"]), []
                quoted = ">" in line[: fence.start("marker")]
        elif fence and fence["marker"].startswith(marker) and not fence["info"].strip():
            found.append(Block("\n".join(body), tag, closed=True))
            marker = ""
        else:
            body.append(_QUOTED.sub("", line) if quoted else line)
    if marker:
        found.append(Block("\n".join(body), tag, closed=False))
    return found


def find_flaw(code: str, language: str | None) -> Flaw | None:
    """Return what is wrong with a program, if it is in a language that can be read here.

    Args:
        code: The program, without fences.
        language: Its language by its one name, such as ``python``.
    """
    if len(code) > _LARGEST or not code.strip():
        return None
    if language == "python":
        return _python_flaw(code)
    if language is not None and language in _LEXERS:
        return _bracket_flaw(code, _LEXERS[language])
    return None


def kindred(one: str, other: str) -> bool:
    """Tell whether two languages are one, or so near that one is often called the other."""
    return one == other or any({one, other} <= group for group in _ALIKE)


def misnamed(code: str, claimed: str) -> str | None:
    """Return the language that a program is in, when it is surely not the one that is claimed."""
    if not any(kindred(claimed, name) for name in _SEEN) or len(code) > _LARGEST:
        return None
    if claimed == "python" and _python_error(code) is None:
        return None
    if any(sign.search(code) for name in _SEEN if kindred(name, claimed) for sign in _SEEN[name]):
        return None
    seen = {name: sum(sign.search(code) is not None for sign in _SEEN[name]) for name in _SEEN}
    best = max(seen, key=lambda name: seen[name])
    if best == "python":
        # The parser knows better than any sign.
        return best if seen[best] and _python_error(code) is None else None
    # One sign is enough where the parser has said no, else two.
    return best if seen[best] >= (1 if claimed == "python" else 2) else None


def normal_tokens(code: str, language: str | None = None) -> list[str]:
    """Return the tokens of a program as they are whatever its author calls things.

    Comments and Python's triple-quoted strings are gone, other strings are ``S``, names are ``V``
    but for keywords, built-ins and members (``.append``). Numbers and signs stay. Two programs
    that differ in layout, comments, texts and the names of their variables and functions give the
    same tokens (the "type 2 clones" of Bellon et al. 2007, doi:10.1109/TSE.2007.70725).
    """
    lexer = _LEXERS.get(language or "") or (_INDENTED if language else _guessed(code))
    tokens: list[str] = []
    for found in lexer.finditer(code):
        kind, text = found.lastgroup, found[0]
        if found["name"] is not None:
            member = len(tokens) > 0 and tokens[-1] in _MEMBER and tokens[-2:-1] != ["self"]
            tokens.append(text if member or text in _KEPT else "V")
        elif found["string"] is not None:
            if not text.lstrip("rRbBuUfF").startswith(('"""', "'''")):
                tokens.append("S")
        elif found["comment"] is None and kind is not None:
            tokens.append(text)
    return tokens


def _tag(info: str) -> str:
    words = _INFO.split(info.strip().lstrip("{."), maxsplit=1)
    return language_name(words[0]) or words[0].lower()


def _guessed(code: str) -> re.Pattern[str]:
    braces = any(sign in code for sign in ("//", "/*", ";\n", "{\n", "#include"))
    return _BRACES if braces else _INDENTED


@lru_cache(maxsize=4)
def _python_error(code: str) -> Exception | None:
    """Return why code is not Python; the parser's limits are no reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(textwrap.dedent(code))
        except (SyntaxError, ValueError) as error:
            return error
        except (RecursionError, MemoryError):
            return None
    return None


def _python_flaw(code: str) -> Flaw | None:
    if code.lstrip().startswith(">>>"):
        return None  # a session, not a program
    error = _python_error(code)
    if error is None:
        return None
    if not isinstance(error, SyntaxError):
        return Flaw("syntax", f"it cannot be read as Python: {error}", certain=True)
    lines = code.rstrip().splitlines()
    at = error.lineno or 1
    said = f"line {at} of the code: {error.msg}"
    if _ends_early(error, lines):
        return Flaw("truncated-code", f"the code ends in the middle ({said})", certain=True)
    return Flaw("syntax", f"it cannot be read as Python ({said})", certain=True)


def _ends_early(error: SyntaxError, lines: list[str]) -> bool:
    """Tell whether the parser wanted more where the code ends."""
    message, at = error.msg, error.lineno or 1
    if "never closed" in message or message.startswith("unterminated triple-quoted"):
        return True
    if message.startswith("expected an indented block"):
        return at >= len(lines) and lines[-1].rstrip().endswith(":")
    if at < len(lines):
        return False
    rest = lines[-1][max(0, (error.offset or 1) - 1) :] if at == len(lines) else ""
    return not rest.strip() or message.startswith(("unterminated", "expected '"))


def _bracket_flaw(code: str, lexer: re.Pattern[str]) -> Flaw | None:
    still_open: list[tuple[str, int]] = []
    for sign, at in _brackets(code, lexer):
        if sign in _OPENING:
            still_open.append((sign, at))
        elif not still_open or _OPENING[still_open.pop()[0]] != sign:
            return None  # a fragment, or a text that is read wrongly here
    if not still_open:
        return None
    sign, at = still_open[0]
    line = code.count("\n", 0, at) + 1
    message = f"the code seems to end in the middle: '{sign}' of its line {line} is never closed"
    return Flaw("truncated-code", message, certain=False)


def _brackets(code: str, lexer: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    for found in lexer.finditer(code):
        sign = found["sign"]
        if sign is not None and (sign in _OPENING or sign in _CLOSING):
            yield sign, found.start()
