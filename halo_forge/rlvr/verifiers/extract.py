"""Code out of a model's answer: fences, ``<code>`` elements, bare programs, prose around them.

Fences are found by a CommonMark parser. What CommonMark reads differently from what a model
meant (a fence in a list whose body is not indented, a closing fence whose opening was part of the
prompt, an answer cut off inside a fence) is mended here, and only here. Pure; never runs, imports
or parses the code itself.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt

from halo_forge.rlvr.verifiers.languages import LANGUAGES, SHELLS_AND_DATA, Language, find_language
from halo_forge.rlvr.verifiers.lexical import bare_code, defines
from halo_forge.utils.text import language_name

__all__ = ["MAX_ANSWER", "Block", "best_block", "extract_code"]

MAX_ANSWER = 1 << 20
"""Characters of an answer that are looked at; longer answers hold no program."""

_FENCE = re.compile(
    r"(?P<lead>[ \t>]*(?:(?:[-*+]|[0-9]{1,9}[.)])[ \t]+)?)(?P<marker>`{3,}|~{3,})"
    r"[ \t]*(?P<tag>[^`\s][^`]*)?$"
)
_FENCE_LINE = re.compile(r"^[ \t>]*(?:`{3,}|~{3,})[^`\n]*$", re.MULTILINE)
_ONE_LINE = re.compile(r"```[ \t]*(?:([\w+#]+)[ \t]+)?([^`\n]+)```")
_ELEMENT = re.compile(r"<code\b([^<>]{0,200})>(.*?)(?:(</code\s*>)|\Z)", re.DOTALL | re.IGNORECASE)
_ELEMENT_TAG = re.compile(r"(?:language-|lang-|lang=[\"']?)([\w+#]+)", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|nbsp|#\d{1,6}|#x[0-9a-f]{1,5});", re.IGNORECASE)
_CODE_SIGNS = re.compile(r"[{};=<>\[\]_#]|\w\(")


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of an answer that may be the program.

    Attributes:
        code: Its text, without fences or tags.
        tag: The language it claims, in lower case; empty when it claims none.
        complete: It was closed, not cut off.
    """

    code: str
    tag: str
    complete: bool


def extract_code(text: str, language: str | None = None, entry_point: str | None = None) -> str:
    """Return the program in a model's answer, or ``""`` when there is none.

    Of several blocks the one that defines ``entry_point`` wins, then the one in ``language``,
    then a complete one, then the last.

    Args:
        text: The whole answer.
        language: Name or alias of the wanted language; any when absent.
        entry_point: Function the program must define, when one is asked for.
    """
    if language is None:
        block = best_block(text, (), entry_point)
    else:
        known = find_language(language)
        if known is not None:
            block = best_block(text, (known,), entry_point or known.entry)
        else:
            block = best_block(text, (), entry_point, tag=language.strip().lower())
    return block.code if block is not None else ""


def best_block(
    text: str,
    languages: Sequence[Language],
    entry_point: str | None = None,
    *,
    tag: str | None = None,
) -> Block | None:
    """Return the block of an answer that is most likely the program asked for.

    Args:
        text: The whole answer.
        languages: Languages that are wanted, all alike; empty for any.
        entry_point: Name that the program should define.
        tag: Fence tag that is wanted, for a language outside the table.
    """
    if len(text) > MAX_ANSWER:
        return None
    wanted = languages or tuple(LANGUAGES.values())
    best: tuple[tuple[bool, int, bool, bool], Block] | None = None
    for block in _candidates(_tidy(text), wanted):
        tier = _tier(block.tag, languages, tag)
        if tier == 0:
            continue
        lexis = find_language(block.tag) or wanted[0]
        # Python says def; an example behind the program only calls it
        entered = entry_point is None or defines(
            bare_code(block.code, lexis), entry_point, calls=lexis.lexis != "python"
        )
        rank = (entered, tier, _looks_like_code(block.code, wanted), block.complete)
        if best is None or rank >= best[0]:
            best = rank, block
    return best[1] if best is not None else None


def _tidy(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _tier(tag: str, languages: Sequence[Language], wanted_tag: str | None) -> int:
    """Rank a fence tag: 4 wanted, 3 a close relative, 2 none, 1 unknown, 0 something else."""
    if not languages and wanted_tag is None:
        return 4
    if not tag:
        return 2
    wanted_names = {language.name for language in languages} | {language_name(wanted_tag or "")}
    name = language_name(tag)
    if tag == wanted_tag or (name is not None and name in wanted_names):
        return 4
    known = find_language(tag)
    if known is not None and any(known.lexis == language.lexis for language in languages):
        return 3
    return 0 if name is not None or tag in SHELLS_AND_DATA else 1


def _looks_like_code(code: str, wanted: Sequence[Language]) -> bool:
    return any(language.starts.match(line) for line in code.split("\n") for language in wanted)


def _candidates(text: str, wanted: Sequence[Language]) -> Iterator[Block]:
    blocks = [block for block in _fenced(text) if block.code.strip()]
    if not any(block.complete for block in blocks):
        # The only fence is an open one: either the answer was cut off inside it, or it is the
        # closing half of a fence that the prompt opened, and the program stands before it.
        opening = _FENCE_LINE.search(text)
        yield from _unfenced(text[: opening.start()] if opening else text, wanted)
    yield from blocks


def _unfenced(text: str, wanted: Sequence[Language]) -> Iterator[Block]:
    first = next((line for line in text.split("\n") if line.strip()), "")
    marked = [] if _looks_like_code(first, wanted) else list(_marked(text, wanted))
    yield from marked
    bare = "" if marked else _without_prose(_FENCE_LINE.sub("", text), wanted)
    if bare:
        yield Block(bare, "", complete=True)


def _marked(text: str, wanted: Sequence[Language]) -> Iterator[Block]:
    """Yield what is marked as code without a fence of its own lines."""
    for found in _ONE_LINE.finditer(text):
        yield Block(found[2].strip() + "\n", (found[1] or "").lower(), complete=True)
    for found in _ELEMENT.finditer(text):
        code = _ENTITY.sub(lambda entity: html.unescape(entity[0]), found[2])
        code = _dedented(code.strip("\n")).rstrip() + "\n"
        named = _ELEMENT_TAG.search(found[1])
        if _looks_like_code(code, wanted):
            yield Block(code, named[1].lower() if named else "", complete=found[3] is not None)


@cache
def _parser(*containers: str) -> MarkdownIt:
    # Only fences and what may contain them: with "code" off, indented fences are fences, and with
    # "html_block" and "reference" off nothing else swallows them. No inline text is parsed.
    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    parser.block.ruler.enableOnly(["fence", "paragraph", *containers])
    return parser


def _fenced(text: str) -> list[Block]:
    text = _closed_before_openings(text)
    blocks = _parse(_parser("blockquote", "list"), text)
    if any(not block.code.strip() for block in blocks):
        # An empty block is the trace of a fence in a list item whose body is not indented.
        return _parse(_parser(), text)
    return blocks


def _parse(parser: MarkdownIt, text: str) -> list[Block]:
    lines = text.split("\n")
    blocks = []
    for token in parser.parse(text):
        if token.type == "fence" and token.map is not None:
            first, after = token.map
            last = lines[min(after, len(lines)) - 1]
            complete = after - first > 1 and _FENCE_LINE.match(last) is not None
            code = token.content
            if token.level == 0:
                code = _undented(lines[first + 1 : after - complete], lines[first])
            blocks.append(Block(code, _tag(token.info), complete))
    return blocks


def _undented(body: Sequence[str], fence: str) -> str:
    """Return the body of a fence without the indentation of the fence, if all of it has that.

    CommonMark takes up to as much away from each line, which breaks Python under a fence that is
    indented more than its body.
    """
    margin = fence[: len(fence) - len(fence.lstrip())]
    if margin and all(line.startswith(margin) for line in body if line.strip()):
        body = [line[len(margin) :] for line in body]
    return "".join(f"{line}\n" for line in body)


def _closed_before_openings(text: str) -> str:
    """Close every fence before a line that opens a tagged one.

    A stray closing fence (its opening was part of the prompt) reads as an opening and swallows
    the next one; a tagged fence is never meant as text of another.
    """
    lines = []
    marker = ""
    for line in text.split("\n"):
        fence = _FENCE.match(line)
        if fence is not None and fence["tag"]:
            if marker:
                lines.append(re.sub(r"[^ \t>]", " ", fence["lead"]) + marker)
            marker = fence["marker"]
        elif fence is not None and not marker:
            marker = fence["marker"]
        elif fence is not None and fence["marker"].startswith(marker):
            marker = ""
        lines.append(line)
    return "\n".join(lines)


def _tag(info: str) -> str:
    """Return the language of an info string: ``cpp``, ``{.cpp .numberLines}``, ``cpp:main.cpp``."""
    words = re.split(r"[\s,:;=(}]", info.strip().lstrip("{."), maxsplit=1)
    return words[0].lower()


def _without_prose(text: str, wanted: Sequence[Language]) -> str:
    """Return the program in text that has no fences, without sentences before and after it."""
    lines = _dedented(text).split("\n")
    for first, line in enumerate(lines):
        language = next((one for one in wanted if one.starts.match(line)), None)
        if language is not None:
            last = _last_code_line(lines, first, language)
            return _dedented("\n".join(lines[first : last + 1])).rstrip() + "\n"
    return text.strip() + "\n" if _CODE_SIGNS.search(text) else ""


def _last_code_line(lines: Sequence[str], first: int, language: Language) -> int:
    for index in range(len(lines) - 1, first, -1):
        line = lines[index]
        starts = language.lexis == "python" and language.starts.match(line)
        if starts or language.ends.fullmatch(line):
            return index
    return first


def _dedented(text: str) -> str:
    # textwrap.dedent empties blank lines, which may stand in a string: only with a margin.
    unindented = any(line.strip() and not line[0].isspace() for line in text.split("\n"))
    return text if unindented else textwrap.dedent(text)
