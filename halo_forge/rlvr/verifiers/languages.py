"""The table of languages: what a program looks like and how it speaks.

A new language is a row here and, to be judged, a row in `toolchains`; its spellings are in
`halo_forge.utils.text`. Data only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from halo_forge.utils.text import language_name

__all__ = ["LANGUAGES", "SHELLS_AND_DATA", "Language", "find_language"]


@dataclass(frozen=True, slots=True)
class Language:
    """A language in which models answer.

    Attributes:
        name: Its one name in prompts, options and records.
        label: Its name for people.
        source: Name of the source file in the sandbox.
        lexis: How comments and strings are written.
        entry: Function that every program needs, if there is one.
        sign: Matches source that can hardly be anything else, to tell languages apart when neither
            the prompt nor a fence tag names one.
        starts: Matches a line with which a program written without a fence may begin.
        ends: Matches a line with which such a program may end.
        speaks: Matches a word by which a program reads input or prints, once comments and
            strings are gone.
    """

    name: str
    label: str
    source: str
    lexis: Literal["c", "python", "rust", "go", "csharp", "powershell"]
    entry: str | None
    sign: re.Pattern[str]
    starts: re.Pattern[str]
    ends: re.Pattern[str]
    speaks: re.Pattern[str]


_C_WORDS = (
    "auto|bool|char|class|const|constexpr|consteval|double|enum|extern|float|inline|int|int64_t|"
    "long|namespace|short|signed|size_t|static|std::\\w+|string|struct|template|typedef|typename|"
    "uint64_t|union|unsigned|using|vector|void"
)
_C_STARTS = re.compile(
    rf"""\s*(?:
        \#\s*(?:include|define|pragma|ifdef|ifndef|if|undef|import|error|line)\b
        | //  | /\*
        | (?:{_C_WORDS})\b [^.!?]* [;{{}}(,=>)] \s* (?://.*)?$
        | (?:(?:int|void|auto|signed)\s+)?main\s*\(
        | (?:int|void|auto)\s*$
    )""",
    re.VERBOSE,
)
_C_SIGN = re.compile(r"^[ \t]*#[ \t]*include\b|\b(?:int|void|auto)\s+main\s*\(", re.MULTILINE)
_C_ENDS = re.compile(r".*[;}]\s*$|.*\*/\s*$|.*[;}]\s*//.*$|\s*#\s*\w+")
_C_SPEAKS = re.compile(
    r"\b(?:w?c(?:in|out)|w?printf(?:_s)?|f?w?scanf(?:_s)?|v?[fd]?printf|puts|fputs|gets|gets_s|fgets|"
    r"f?putw?c|putw?char(?:_unlocked)?|getw?char(?:_unlocked)?|f?getw?c(?:_unlocked)?|getline|"
    r"fread(?:_unlocked)?|fwrite(?:_unlocked)?|read|write|writev|readv|print|println|"
    r"vprint_unicode|stdin|stdout|[io]?f?stream|syscall|v?asm|__asm__|mmap)\b"
)

_PY_STARTS = re.compile(
    r"""\s*(?:
        import\s+[\w.]+ (?:\s+as\s+\w+)? (?:\s*,\s*[\w.]+)* \s* (?:;.*|\#.*)?$
        | from\s+[\w.]+\s+import\s
        | (?:async\s+)?def\s+\w+\s*\(
        | class\s+\w+\s*(?:\(.*\))?\s*:
        | @\w[\w.]*(?:\(.*\))?\s*$
        | (?:if|while|with|for)\b.*:\s*(?:\#.*|[\w(].*)?$
        | (?:try|else|finally)\s*:
        | (?:print|exec|input)\s*\(
        | [\w.]++\s*+(?=[\[,=:+\-*/%@&|^<>])[^=]{0,200}?=(?!=)
        | \#
        | [\w.]++(?:\[[^\]]*+\])?\(.*\)\s*(?:[.\[].*)?(?:\#.*)?$
        | [\w.]+\($
        | (?:raise|assert|del|global)\s
        | \[.*\bfor\b.*\]\s*$
        | \"\"\" | '''
    )""",
    re.VERBOSE,
)
_PY_SIGN = re.compile(
    r"^(?:def\s|import\s|from\s|print\s*\(|for\s.+:|while\s.+:|if\s.+:|\w+\s*=[^=;]*$)",
    re.MULTILINE,
)
_PY_ENDS = re.compile(
    r"[ \t]+\S.*|[)\]}].*|(?:pass|return|break|continue|raise)\b.*|.*(?:\"\"\"|''')\s*$"
)
_PY_SPEAKS = re.compile(
    r"\b(?:print|input|stdin|stdout|__stdin__|__stdout__|open|fileinput|pprint|write|writelines|"
    r"read|readline|readlines|exec|eval|__import__|import_module|this|subprocess|ctypes)\b"
)

_BRACE_ENDS = re.compile(r".*[;}]\s*$|.*\*/\s*$|.*[;}]\s*//.*$")
_RUST_STARTS = re.compile(
    r"""\s*(?: \#!?\[ | // | /\*
        | (?:pub\b(?:\([\w:\ ]+\))?\s+)?
          (?:use|fn|mod|struct|enum|impl|trait|const|static|type|extern|unsafe|async|union)\b
          [^.!?]*[;{(<,:=>]
        | macro_rules!
        | let\s+(?:mut\s+)?[\w(]
    )""",
    re.VERBOSE,
)
_RUST_SIGN = re.compile(
    r"^[ \t]*(?:pub\s+)?fn\s+main\s*\(|^[ \t]*use\s+std::|\blet\s+mut\b|\bprintln!",
    re.MULTILINE,
)
_RUST_SPEAKS = re.compile(
    r"\b(?:e?print(?:ln)?|dbg|write|writeln|std[io][nu]t?|stdin|stdout|write_all|write_fmt|"
    r"read_line|read_to_string|read_to_end|lines|read|args|asm|syscall)\b"
)
_GO_STARTS = re.compile(
    r"""\s*(?: // | /\* | package\s+\w+\s*(?://.*)?$ | import\s*(?:\(|"|\w+\s+")
        | func\s*(?:\([^()]*\)\s*)?\w*\s*[\[(] | (?:type|var|const)\s+(?:\w+\b.*|\()\s*$
    )""",
    re.VERBOSE,
)
_GO_SIGN = re.compile(r"^[ \t]*package\s+main\b|^[ \t]*func\s+main\s*\(\)", re.MULTILINE)
_GO_SPEAKS = re.compile(
    r"\b(?:[FS]?[Pp]rint(?:f|ln)?|[FS]?[Ss]can(?:f|ln)?|Write\w*|Read\w*|Stdin|Stdout|NewReader|"
    r"NewWriter|NewScanner|Encode|Decode|Copy|Syscall)\b"
)
_CSHARP_STARTS = re.compile(
    r"""\s*(?: // | /\* | \#\s*(?:nullable|pragma|region|define|if)\b
        | (?:global\s+)?using\s+(?:static\s+)?[\w.]+\s*(?:=[^;]*)?; | namespace\s+[\w.]+
        | (?:(?:public|private|protected|internal|static|sealed|abstract|partial|unsafe|readonly)
          \s+)*(?:class|struct|interface|enum|record)\s+\w
        | \[\w[\w.]*(?:\(.*\))?\]\s*$ | Console\.
    )""",
    re.VERBOSE,
)
_CSHARP_SIGN = re.compile(
    r"^[ \t]*using\s+System\b|\bstatic\s+(?:async\s+)?[\w<>]+\s+Main\s*\(|\bConsole\s*\.\s*\w",
    re.MULTILINE,
)
_CSHARP_SPEAKS = re.compile(r"\b(?:Console|Write\w*|Read\w*|Stream\w*|File|Print\w*)\b")

_POSH_STARTS = re.compile(
    r"""\s*(?: \# | <\# | \$\w | \[\w | param\s*\( | (?:function|filter|class|enum|using)\s+[\w-]
        | (?:if|foreach|while|for|try|switch|do|begin|process|end)\s*[({] | [A-Z][a-z]+-[A-Z]\w*\b )
    """,
    re.VERBOSE,
)
_POSH_SIGN = re.compile(
    r"^\s*\$\w+\s*=|\b(?:Get|Set|New|Write|Import|Export|Add|Remove)-[A-Z]\w+|^\s*param\s*\(",
    re.MULTILINE,
)
_POSH_ENDS = re.compile(r".*[\w)}\]\"'@|;]\s*$")
_POSH_SPEAKS = re.compile(r"\w")

LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        Language(
            name="cpp",
            label="C++",
            source="main.cpp",
            lexis="c",
            entry="main",
            sign=_C_SIGN,
            starts=_C_STARTS,
            ends=_C_ENDS,
            speaks=_C_SPEAKS,
        ),
        Language(
            name="c",
            label="C",
            source="main.c",
            lexis="c",
            entry="main",
            sign=_C_SIGN,
            starts=_C_STARTS,
            ends=_C_ENDS,
            speaks=_C_SPEAKS,
        ),
        Language(
            name="rust",
            label="Rust",
            source="main.rs",
            lexis="rust",
            entry="main",
            sign=_RUST_SIGN,
            starts=_RUST_STARTS,
            ends=_BRACE_ENDS,
            speaks=_RUST_SPEAKS,
        ),
        Language(
            name="go",
            label="Go",
            source="main.go",
            lexis="go",
            entry="main",
            sign=_GO_SIGN,
            starts=_GO_STARTS,
            ends=_BRACE_ENDS,
            speaks=_GO_SPEAKS,
        ),
        Language(
            name="csharp",
            label="C#",
            source="main.cs",
            lexis="csharp",
            # Not Main: newer compilers take statements without it.
            entry=None,
            sign=_CSHARP_SIGN,
            starts=_CSHARP_STARTS,
            ends=_BRACE_ENDS,
            speaks=_CSHARP_SPEAKS,
        ),
        Language(
            name="python",
            label="Python",
            source="main.py",
            lexis="python",
            entry=None,
            sign=_PY_SIGN,
            starts=_PY_STARTS,
            ends=_PY_ENDS,
            speaks=_PY_SPEAKS,
        ),
        Language(
            name="powershell",
            label="PowerShell",
            source="main.ps1",
            lexis="powershell",
            entry=None,
            sign=_POSH_SIGN,
            starts=_POSH_STARTS,
            ends=_POSH_ENDS,
            speaks=_POSH_SPEAKS,  # a pipeline's last value is printed without a word
        ),
    )
}  # fmt: skip

SHELLS_AND_DATA = frozenset({
    "bash", "sh", "shell", "zsh", "console", "terminal", "cmd", "output", "stdout", "stdin",
    "json", "yaml", "yml", "toml", "diff", "makefile", "cmake", "html", "xml", "csv", "latex",
    "mermaid",
})  # fmt: skip
"""Fence tags whose blocks stand beside a program and are never the program itself."""


def find_language(name: str) -> Language | None:
    """Return the language of a name, an alias or a fence tag, if it is in the table."""
    return LANGUAGES.get(language_name(name) or "")
