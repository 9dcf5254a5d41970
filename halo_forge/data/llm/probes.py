"""Trivial solutions: what an item's tests must reject before anybody is trained on it. Pure.

For programs: nothing at all, a program that always prints what the first test expects, and one
that prints its input. For functions: nothing at all, and functions that always return the same
value, or their first argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from halo_forge.data.llm.answers import Item

__all__ = ["Probe", "probes"]


@dataclass(frozen=True, slots=True)
class Probe:
    """A program that does not solve the task.

    Attributes:
        name: What it does, in a few words.
        code: Its source; empty for an empty answer.
    """

    name: str
    code: str


@dataclass(frozen=True, slots=True)
class _Programs:
    """How a language prints fixed bytes (``%s`` stands for their literal), and its input."""

    constant: str
    echo: str


_C_CONSTANT = """\
#include <stdio.h>
int main(void) {
    static const char text[] = "%s";
    fwrite(text, 1, sizeof text - 1, stdout);
    return 0;
}
"""
_C_ECHO = """\
#include <stdio.h>
int main(void) {
    for (int c = getchar(); c != EOF; c = getchar()) putchar(c);
    return 0;
}
"""
_PROGRAMS: Mapping[str, _Programs] = {
    "c": _Programs(_C_CONSTANT, _C_ECHO),
    "cpp": _Programs(_C_CONSTANT.replace("(void)", "()"), _C_ECHO.replace("(void)", "()")),
    "go": _Programs(
        'package main\n\nimport "os"\n\nfunc main() { os.Stdout.WriteString("%s") }\n',
        'package main\n\nimport (\n\t"io"\n\t"os"\n)\n\n'
        "func main() { io.Copy(os.Stdout, os.Stdin) }\n",
    ),
    "python": _Programs(
        'import sys\n\nsys.stdout.buffer.write(b"%s")\n',
        "import sys\n\nsys.stdout.write(sys.stdin.read())\n",
    ),
    "rust": _Programs(
        'use std::io::Write;\n\nfn main() { std::io::stdout().write_all(b"%s").unwrap(); }\n',
        "fn main() { std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap(); }\n",
    ),
}
_VALUES = ("None", "True", "False", "0", "1", '""', "[]", "{}")
_IDLE_CLASS = """\
class {name}:
    def __init__(self, *args, **kwargs):
        pass

    def __getattr__(self, name):
        return lambda *args, **kwargs: {value}
"""
_OCTAL = frozenset({"c", "cpp", "go"})


def probes(item: Item, language: str) -> list[Probe]:
    """Return the trivial solutions of an item; the first is the empty answer."""
    made = _functions(item) if item.test_code is not None else _programs(item, language)
    return [Probe("an empty answer", ""), *made]


def _programs(item: Item, language: str) -> Iterator[Probe]:
    table = _PROGRAMS[language]
    expected = item.cases[0].expected if item.cases else ""
    literal = "".join(_escaped(byte, language) for byte in expected.encode())
    yield Probe("a program that prints the first test's output", table.constant % literal)
    yield Probe("a program that prints its input", table.echo)


def _functions(item: Item) -> Iterator[Probe]:
    name = item.entry_point or ""
    if re.search(rf"^class\s+{re.escape(name)}\b", item.solution, re.MULTILINE):
        for value in _VALUES:
            yield Probe(
                f"a class whose methods return {value}", _IDLE_CLASS.format(name=name, value=value)
            )
        return
    head = f"def {name}(*args, **kwargs):\n    return "
    for value in _VALUES:
        yield Probe(f"a function that returns {value}", f"{head}{value}\n")
    first = "args[0] if args else next(iter(kwargs.values()), None)"
    yield Probe("a function that returns its first argument", f"{head}{first}\n")


def _escaped(byte: int, language: str) -> str:
    """Return a byte as it stands in a string of the language, whatever comes after it."""
    # A hexadecimal escape of C takes every hexadecimal digit that follows.
    return f"\\{byte:03o}" if language in _OCTAL else f"\\x{byte:02x}"
