"""Whatever the text of an answer is, there is a verdict."""

from __future__ import annotations

import json

import pytest

TEXTS = {
    "empty": "",
    "white space": " \n\r\n\t ",
    "twenty megabytes": "x = 1\n" * (20 << 20),
    "one long line": "print(" + "1+" * 200_000 + "1)",
    "deep": "print(" + "(" * 100_000 + ")" * 100_000 + ")",
    "NUL": "print(1)\x00",
    "NUL in a fence": "```python\nprint('\x00')\n```",
    "lone surrogate": "print('\ud800')",
    "byte-order mark": "\ufeffprint(1)\r\n",
    "control characters": "print(1)\x1a\x0c\x1b[31m",
    "bidirectional": "print('\u202e1')",
    "not UTF-8 in C++": '```cpp\n#include <cstdio>\nint main() { puts("\udcff"); \x01 }\n```',
    "many fences": "```\n" * 5_000,
    "deep quotation": ">" * 5_000 + " ```python\nprint(1)\n```",
    "huge number": "print(" + "9" * 10_000 + ")",
}


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_text_is_a_verdict(adder, name: str) -> None:
    """A strange answer is judged, shortly and printably, and never raises."""
    verdict = adder.verify(TEXTS[name])
    assert 0.0 <= verdict.reward < 1.0
    assert len(verdict.details) < 3000
    assert (verdict.details + (verdict.error or "")).replace("\n", "").isprintable()
    json.dumps(dict(verdict.metadata)).encode()


def test_encodings_do_not_hide_a_right_program(adder) -> None:
    """A byte-order mark and Windows line ends change nothing."""
    code = "\ufeffa, b = map(int, input().split())\r\nprint(a + b)\r\n"
    assert adder.verify(code).reward == 1.0
    assert adder.verify(f"```python\r\n{code[1:]}```\r\n").reward == 1.0
