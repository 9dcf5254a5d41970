"""From a function and tests in its language to one program: how MultiPL-E's tests are put.

Its tests go on where a function ends (Cassano et al. 2022, arXiv:2208.08227): in C++, Rust and C#
a ``main`` with asserts, in Go a function for ``go test``. The program that comes of it prints a
word when the last test has passed. It looks for names and braces outside comments and strings, and
parses nothing. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from halo_forge.rlvr.verifiers.languages import Language
from halo_forge.rlvr.verifiers.lexical import bare_code, defines, masked_code

__all__ = ["JOINED", "joined", "whole"]

_MAIN = re.compile(r"\bmain(?=\s*\()")
_GO_IMPORTS = re.compile(r"^import\s*\((.*?)\)|^import\s+([^\n(]+)$", re.MULTILINE | re.DOTALL)
_GO_PACKAGE = re.compile(r"^package\s+\w+", re.MULTILINE)
_GO_TEST = re.compile(r"^func\s+(Test\w*)\s*\(", re.MULTILINE)
_CPP_ASSERT = re.compile(r"\bassert(?=\s*\()")
_RUST_ASSERT = re.compile(r"(?<![\w:])(?=assert(?:_eq|_ne)?!)")
_SPACE = re.compile(r"\s+")
_USING = re.compile(r"^\s*using\s+[\w.= ]+;[^\n]*\n?", re.MULTILINE)
_CLASS = re.compile(r"\bclass\s+Problem\b[^{]*\{")


def whole(code: str, head: str, entry: str, language: Language) -> str:
    """Return the source in which ``entry`` stands, with what is given before it.

    Args:
        code: The program of an answer: the function, or only what follows its head.
        head: What the prompt gives, up to the opening brace of the function.
        entry: Name of the function.
        language: Of both.
    """
    if not defines(bare_code(code, language), entry):
        body = f"{head.rstrip()}\n{code.rstrip()}\n"
        masked = masked_code(body, language)
        inside = 1 if language.name == "csharp" else 0  # the class stays open for the tests
        body += "}\n" * max(0, masked.count("{") - masked.count("}") - inside)
        return _go_whole(body, "", language) if language.name == "go" else body
    return _WHOLE.get(language.name, _with_preamble)(code, _before(head, entry, language), language)


def joined(code: str, tests: str, language: Language, word: str) -> str:
    """Return the program that runs ``tests`` on ``code`` and then prints ``word``.

    Args:
        code: What `whole` returned.
        tests: What follows the function.
        language: One of `JOINED`.
        word: Letters and digits.
    """
    return JOINED[language.name](code, tests, language, word)


def _before(head: str, entry: str, language: Language) -> str:
    """Return the lines of ``head`` above the function."""
    found = re.search(rf"\b{re.escape(entry)}\s*\(", masked_code(head, language))
    at = head.rfind("\n", 0, found.start()) + 1 if found else 0
    return head[:at]


def _with_preamble(code: str, before: str, language: Language) -> str:
    """Put includes and definitions before a function, but none that it brings itself."""
    lines = [line for line in before.splitlines() if not _is_brought(line, code)]
    given, own = (_SPACE.sub("", bare_code(text, language)) for text in (before, code))
    if given and given in own:
        lines = [line for line in lines if line.lstrip().startswith("#")]
    return "\n".join([*lines, code]) + "\n"


def _is_brought(line: str, code: str) -> bool:
    """Tell whether Rust would refuse a line as said twice."""
    return line.strip().startswith("use ") and line.strip() in code


def _go_whole(code: str, before: str, language: Language) -> str:
    """Merge the imports of both: in Go none may come twice, or too late."""
    del language
    imports: dict[str, None] = {}
    for text in (before, code):
        for found in _GO_IMPORTS.finditer(text):
            parts = (found[1] or found[2] or "").replace(";", "\n").splitlines()
            imports |= dict.fromkeys(part.strip() for part in parts if part.strip())
    body = _GO_IMPORTS.sub("", _GO_PACKAGE.sub("", code, count=1))
    return f"package main\n\nimport (\n{chr(10).join(imports)}\n)\n{body}\n"


def _csharp_whole(code: str, before: str, language: Language) -> str:
    """Put a method into the class; a class of the same name stays without its last brace."""
    masked = masked_code(code, language)
    opened = _CLASS.search(masked)
    usings = "".join(dict.fromkeys(_USING.findall(before) + _USING.findall(code)))
    if opened is None:
        _, _, start = _USING.sub("", before).partition("class Problem")
        return f"{usings}class Problem{start}\n{_USING.sub('', code)}\n"
    depth, at = 1, opened.end()
    while at < len(masked) and depth:
        depth += {"{": 1, "}": -1}.get(masked[at], 0)
        at += 1
    inside, after = code[opened.start() : at - (depth == 0)], code[at:]
    others = _USING.sub("", code[: opened.start()])
    return f"{usings}{others}{after}\n{inside}\n"


def _cpp(code: str, tests: str, language: Language, word: str) -> str:
    # read before the answer, and by a name that it cannot know, so that no macro of it counts
    check = f"hf_{word}"
    checked = _replaced(tests, _CPP_ASSERT, check, language)
    told = _before_brace(checked, 1, f'__builtin_puts("{word}");', language)
    first = f"static void {check}(bool holds) {{ if (!holds) __builtin_trap(); }}\n"
    return f"{first}{_without_main(code, language)}\n{told}\n"


def _rust(code: str, tests: str, language: Language, word: str) -> str:
    checked = _replaced(tests, _RUST_ASSERT, "::std::", language)  # whatever the answer calls so
    told = _before_brace(checked, 1, f'::std::println!("{word}");', language)
    return f"{_without_main(code, language)}\n{told}\n"


def _csharp(code: str, tests: str, language: Language, word: str) -> str:
    code = _replaced(code, re.compile(r"\bMain(?=\s*\()"), "OwnMain", language)
    asserts = re.compile(r"\bDebug\s*\.\s*Assert(?=\s*\()")
    checked = _replaced(tests, asserts, "HaloForgeCheck.That", language)
    told = _before_brace(checked, 2, f'System.Console.WriteLine("{word}");', language)
    check = "static void That(bool holds) { if (!holds) throw new System.Exception(); }"
    return f"{code}\n{told}\nstatic class HaloForgeCheck {{ public {check} }}\n"


def _go(code: str, tests: str, language: Language, word: str) -> str:
    """Run the tests as ``go test`` does; one more, the last, says the word."""
    names = [f'{{"{name}", {name}}}' for name in _GO_TEST.findall(tests)]
    last = f'{{"Last", func(*hfTesting.T) {{ hfOs.Stdout.WriteString("{word}\\n") }}}}'
    package, rest = _without_main(code, language).split("\n", 1)
    own = 'import (\n hfOs "os"\n hfTesting "testing"\n)\n'
    main = (
        "func main() {\n all := func(string, string) (bool, error) { return true, nil }\n"
        f" tests := []hfTesting.InternalTest{{{', '.join([*names, last])}}}\n"
        " hfTesting.Main(all, tests, nil, nil)\n}\n"
    )
    return f"{package}\n{own}{rest}\n{tests}\n{main}"


def _without_main(code: str, language: Language) -> str:
    """Give a ``main`` of the answer another name: the tests have their own."""
    return _replaced(code, _MAIN, "own_main", language)


def _replaced(code: str, pattern: re.Pattern[str], new: str, language: Language) -> str:
    """Replace what is found outside comments and strings."""
    for found in reversed([*pattern.finditer(masked_code(code, language))]):
        code = code[: found.start()] + new + code[found.end() :]
    return code


def _before_brace(tests: str, number: int, text: str, language: Language) -> str:
    """Put ``text`` before the brace that is the ``number``-th from the end."""
    masked = masked_code(tests, language)
    at = len(masked)
    for _ in range(number):
        at = max(masked.rfind("}", 0, at), 0)
    return f"{tests[:at]}{text}\n{tests[at:]}"


_WHOLE: Mapping[str, Callable[[str, str, Language], str]] = MappingProxyType(
    {"csharp": _csharp_whole, "go": _go_whole}
)

JOINED: Mapping[str, Callable[[str, str, Language, str], str]] = MappingProxyType(
    {"cpp": _cpp, "csharp": _csharp, "go": _go, "rust": _rust}
)
"""How it is done, by language."""
