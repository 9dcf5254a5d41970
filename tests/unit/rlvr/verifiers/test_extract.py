"""Code is found wherever models put it, and nothing but code is returned."""

from __future__ import annotations

import time

import pytest

from halo_forge.rlvr.verifiers.extract import MAX_ANSWER, extract_code

CPP = "#include <iostream>\nint main() {\n    std::cout << 1;\n\n    return 0;\n}\n"
PY = "n = int(input())\nfor i in range(n):\n    print(i)\n"

INDENTED = "Code:\n\n    a = 1\n    print(a)\n\nDone."
IN_LIST = PY.replace("\n", "\n   ")
DEEP = "- a\n  - b\n\n        ```python\n        print(1)\n        ```"
FOUND = {
    "fence": (f"```cpp\n{CPP}```", "cpp", CPP),
    "upper-case tag": (f"```C++\n{CPP}```", "cpp", CPP),
    "tag of a close relative": (f"```c\n{CPP}```", "cpp", CPP),
    "no tag": (f"```\n{CPP}```", "cpp", CPP),
    "text tag": (f"```text\n{CPP}```", "cpp", CPP),
    "attributes": (f"```{{.cpp .numberLines}}\n{CPP}```", "cpp", CPP),
    "file name in the tag": (f"```cpp:main.cpp\n{CPP}```", "cpp", CPP),
    "title in the tag": (f'```py title="x.py"\n{PY}```', "python", PY),
    "tildes": (f"~~~python3\n{PY}~~~", "python", PY),
    "four ticks": (f"````markdown\n```python\n{PY}```\n````", "python", PY),
    "fence without end": (f"Sure:\n```cpp\n{CPP}", "cpp", CPP),
    "end of a fence the prompt opened": (f"{CPP}```\nThis prints one.", "cpp", CPP),
    "only an end": (f"{PY}```", "python", PY),
    "stray end, then a block": (f"Here you go\n```\n\n```python\n{PY}```\nDone.", "python", PY),
    "prose around": (f"Sure! Here it is:\n\n{CPP}\nIt prints one, as asked.", "cpp", CPP),
    "prose around Python": (f"Here is it:\n{PY}\nThis reads n and counts.", "python", PY),
    "bare": (CPP, "cpp", CPP),
    "bare Python": (PY, "python", PY),
    "bare and indented": (INDENTED, "python", "a = 1\nprint(a)\n"),
    "code element": (
        "<pre><code class='language-cpp'>#include &lt;cstdio&gt;\nint main() { puts(\"&amp;\"); }"
        "</code></pre>",
        "cpp",
        '#include <cstdio>\nint main() { puts("&"); }\n',
    ),
    "code element without end": (f"<p>So:</p><code>{PY}", "python", PY),
    "one line": ("```python print(1)```", "python", "print(1)\n"),
    "in a list": (f"1. Code:\n   ```python\n   {IN_LIST}```", "python", PY),
    "in a list, not indented": (f"1. Code:\n   ```python\n{PY}   ```", "python", PY),
    "deeply indented fence": (DEEP, "python", "print(1)\n"),
    "in a quotation": ("> ```python\n> print(1)\n> ```\n", "python", "print(1)\n"),
    "byte-order mark and CRLF": ("\ufeff```python\r\nprint(1)\r\n```\r\n", "python", "print(1)\n"),
    "shell block beside": (
        f"```bash\npip install x\n```\n```python\n{PY}```\n```bash\npython x.py\n```", "python", PY
    ),
    "other language beside": (f"```python\n{PY}```\n```cpp\n{CPP}```\n```rust\nfn main() {{}}\n```",
                              "cpp", CPP),
    "last of several": (f"```python\nprint(0)\n```\nBetter:\n```python\n{PY}```", "python", PY),
    "complete before cut off": (
        f"```python\n{PY}```\nOr shorter:\n```python\nfor i in ran", "python", PY
    ),
    "the one with main": (
        f"```cpp\n{CPP}```\nThe core is:\n```cpp\nstd::cout << 1;\n```", "cpp", CPP
    ),
    "main in a comment does not count": (
        f"```cpp\n{CPP}```\n```cpp\n// see main()\nint x;\n```", "cpp", CPP
    ),
    "any language": ("Text\n```rust\nfn main() {}\n```", None, "fn main() {}\n"),
    "language outside the table": ("```rs\nfn main() {}\n```\n```python\nprint(1)\n```", "rust",
                                   "fn main() {}\n"),
    "bare text of no known language": ("SELECT a FROM b WHERE c = 1;", None,
                                       "SELECT a FROM b WHERE c = 1;\n"),
}  # fmt: skip

NOTHING = {
    "empty": "",
    "white space": " \n\t\n",
    "prose": "I am sorry, but I cannot do that.",
    "fences alone": "```\n```",
    "tag alone": "```cpp\n```",
    "open tag alone": "```python",
    "another language": "```rust\nfn main() {}\n```",
}


@pytest.mark.parametrize("case", FOUND)
def test_program_is_found(case: str) -> None:
    """The program comes out whole, without fence, tag, prose or indentation."""
    text, language, code = FOUND[case]
    assert extract_code(text, language) == code


@pytest.mark.parametrize("case", NOTHING)
def test_nothing_is_found(case: str) -> None:
    """An answer without a program gives the empty string."""
    assert extract_code(NOTHING[case], "cpp") == ""


def test_an_example_that_calls_is_not_the_program() -> None:
    """The last block shows how the function of the first is used."""
    program = "def smallest(items):\n    return min(items)"
    answer = f"```python\n{program}\n```\nFor example:\n```python\nprint(smallest([3, 1]))\n```\n"
    assert extract_code(answer, "python", "smallest").strip() == program
    given = "```python\nsmallest = min\n```\nIt says 1:\n```python\nsmallest([3, 1])\n```\n"
    assert extract_code(given, "python", "smallest").strip() == "smallest = min"


def test_entry_point_decides_between_blocks() -> None:
    """The block that defines the function asked for wins over a later one that does not."""
    text = "```python\ndef solve(n):\n    return n\n```\nTry it:\n```python\nprint(1)\n```"
    assert extract_code(text, "python", "solve") == "def solve(n):\n    return n\n"
    assert extract_code(text, "python") == "print(1)\n"


def test_too_long_an_answer_holds_nothing() -> None:
    """Beyond the cap no time is spent on parsing."""
    assert extract_code("x = 1\n" * MAX_ANSWER, "python") == ""


@pytest.mark.parametrize("piece", ["> ", "```cpp\n", "- ", "std::", "'", "[", "<code", "a<", "\n"])
def test_hostile_text_takes_linear_time(piece: str) -> None:
    """Repeating one piece 64 thousand characters long does not blow up parsing or the gate."""
    from halo_forge.rlvr.verifiers.languages import LANGUAGES
    from halo_forge.rlvr.verifiers.substance import hollow

    text = "int main(){" + piece * ((64 << 10) // len(piece))
    before = time.process_time()
    extract_code(text, "cpp")
    for name in ("cpp", "python"):
        hollow(text, LANGUAGES[name], prompt=text, needs_io=True)
    assert time.process_time() - before < 3
