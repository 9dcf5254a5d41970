"""Tests in the language of the answer: MultiPL-E's, in the languages built here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Message, Prompt, Sample
from halo_forge.data import public_datasets
from halo_forge.data.items import View
from halo_forge.rlvr.verifiers.joined import JoinedVerifier
from halo_forge.utils.text import fenced

CPP_HEAD = """\
#include<assert.h>
#include<cstdlib>
// Whether n is even; even_p(2) is.
bool even_p(long n) {
"""
RUST_HEAD = "/// Whether n is even; even_p(2) is.\nfn even_p(n: isize) -> bool {\n"
GO_HEAD = """\
package even_p_test

import (
    "testing"
    "fmt"
)

// Whether n is even; even_p(2) is.
func even_p(n int) bool {
"""
CSHARP_HEAD = """\
using System;
using System.Diagnostics;
class Problem {
    // Whether n is even; EvenP(2L) is.
    public static bool EvenP(long n) {
"""
ROWS = {
    "cpp": (
        CPP_HEAD,
        "}\nint main() {\n    auto candidate = even_p;\n    assert(candidate((4)) == (true));\n"
        "    assert(candidate((5)) == (false));\n}\n",
    ),
    "rs": (
        RUST_HEAD,
        "}\n\nfn main() {\n    let candidate = even_p;\n    assert_eq!(candidate(4), true);\n"
        "    assert_eq!(candidate(5), false);\n}\n",
    ),
    "go": (
        GO_HEAD,
        "}\n\nfunc TestEven_P(t *testing.T) {\n  candidate := even_p\n\ttype test struct {\n"
        "\t\tactual   interface{}\n\t\texpected interface{}\n\t}\n   tests := []test{\n"
        "     { actual: candidate(4), expected: true },\n"
        "     { actual: candidate(5), expected: false },\n   }\n\n"
        "\tfor i, tc := range tests {\n"
        '\t\tt.Run(fmt.Sprintf("test num % d", i), func(t *testing.T) {\n'
        '\t\t\tif fmt.Sprintf("%v", tc.actual) != fmt.Sprintf("%v", tc.expected) {\n'
        "\t\t\t\tt.Errorf(\"expected '%s', got '%s'\", tc.expected, tc.actual)\n\t\t\t}\n"
        "\t\t})\n\t}\n}\n",
    ),
    "cs": (
        CSHARP_HEAD,
        "    }\n    public static void Main(string[] args) {\n"
        "    Debug.Assert(EvenP((4L)) == (true));\n    Debug.Assert(EvenP((5L)) == (false));\n"
        "    }\n\n}\n",
    ),
}
TOOLS = {"cpp": "g++", "rs": "rustc", "go": "go", "cs": "mcs"}
LANGUAGES = [pytest.param(name, marks=pytest.mark.toolchain(tool)) for name, tool in TOOLS.items()]

WHOLE = {
    "cpp": "bool even_p(long n) {{ {body} }}",
    "rs": "fn even_p(n: isize) -> bool {{ {body} }}",
    "go": "func even_p(n int) bool {{ {body} }}",
    "cs": "public static bool EvenP(long n) {{ {body} }}",
}
RIGHT, WRONG = "return n % 2 == 0;", "return n % 2 == 1;"
EXITS = {
    "cpp": "std::exit(0);",
    "rs": "std::process::exit(0);",
    "go": "os.Exit(0); return true",
    "cs": "System.Environment.Exit(0); return true;",
}
PROGRAMS = {
    "cpp": "#include <iostream>\nbool even_p(long n) { return n % 2 == 0; }\n"
    "int main() { std::cout << even_p(2); }",
    "rs": 'fn even_p(n: isize) -> bool { n % 2 == 0 }\nfn main() { println!("{}", even_p(2)); }',
    "go": 'package main\n\nimport "fmt"\n\nfunc even_p(n int) bool { return n%2 == 0 }\n\n'
    "func main() { fmt.Println(even_p(2)) }",
    "cs": "using System;\nclass Problem {\n  static bool EvenP(long n) { return n % 2 == 0; }\n"
    "  static void Main() { Console.WriteLine(EvenP(2)); }\n}",
}


def _prompt(name: str) -> Prompt:
    head, tests = ROWS[name]
    row = {"name": "HumanEval_0_even_p", "prompt": head, "tests": tests}
    return public_datasets.get("multipl-e").convert(row, View(f"humaneval-{name}", "test")).prompt


@pytest.fixture(scope="module")
def verifier() -> Iterator[JoinedVerifier]:
    """One for all."""
    with JoinedVerifier(max_workers=2) as made:
        yield made


@pytest.mark.parametrize("name", LANGUAGES)
def test_verdicts(name: str, verifier: JoinedVerifier) -> None:
    """Right functions pass however they are given, wrong ones and early exits do not."""
    prompt = _prompt(name)
    tag = prompt.language or ""
    exits = WHOLE[name].format(body=EXITS[name])
    answers = {
        fenced(WHOLE[name].format(body=RIGHT), tag): (True, 1.0),
        fenced(PROGRAMS[name], tag): (True, 1.0),  # with a main of its own
        fenced(f"    {RIGHT}\n", tag): (True, 1.0),  # goes on behind the head
        fenced(f"    {RIGHT}\n}}\n", tag): (True, 1.0),
        fenced(WHOLE[name].format(body=WRONG), tag): (False, 0.5),
        fenced(f'import "os"\n{exits}' if name == "go" else exits, tag): (False, 0.5),
        fenced(WHOLE[name].format(body="return nothing_like_it;"), tag): (False, 0.0),
        "I cannot do that.": (False, 0.0),
    }
    for index, (text, (success, reward)) in enumerate(answers.items()):
        result = verifier.judge(Sample(prompt, index, text))
        assert (result.success, result.reward) == (success, reward), (text, result)
        assert result.metadata["integrity"] == "weak"


@pytest.mark.toolchain("g++")
@pytest.mark.toolchain("rustc")
@pytest.mark.parametrize(
    ("name", "trick"),
    [
        ("cpp", "#define NDEBUG\n#include <cassert>\n"),
        ("cpp", "#include <assert.h>\n#define __assert_fail(...) ((void)0)\n"),
        ("cpp", "#define assert(x) ((void)0)\n"),
        ("rs", "macro_rules! assert_eq { ($($t:tt)*) => {} }\n"),
        ("rs", "macro_rules! assert { ($($t:tt)*) => {} }\n"),
    ],
)
def test_asserts_cannot_be_turned_off(name: str, trick: str, verifier: JoinedVerifier) -> None:
    """No macro of the answer reaches the asserts, and a right answer passes beside it."""
    prompt = _prompt(name)
    for body, passes in ((WRONG, False), (RIGHT, True)):
        answer = fenced(trick + WHOLE[name].format(body=body), prompt.language or "")
        assert verifier.judge(Sample(prompt, 0, answer)).success is passes


@pytest.mark.toolchain("g++")
def test_words_in_comments_are_no_functions(verifier: JoinedVerifier) -> None:
    """What a comment says is no function."""
    prompt = _prompt("cpp")
    said = "bool even_p(long n) { return n % 2 == 0; } // int main() is not mine }"
    assert verifier.judge(Sample(prompt, 1, fenced(said, "cpp"))).success


@pytest.mark.toolchain("g++")
def test_definitions_of_the_prompt(verifier: JoinedVerifier) -> None:
    """What a head defines stands before the function, once, also when the answer repeats it."""
    struct = "struct Pair {\n    long a;\n    long b;\n};\n"
    head = f"#include<assert.h>\n{struct}// The sum of both.\nlong sum_of(Pair p) {{\n"
    tests = (
        "}\nint main() {\n    auto candidate = sum_of;\n    assert(candidate({1, 2}) == 3);\n}\n"
    )
    row = {"name": "HumanEval_1_sum_of", "prompt": head, "tests": tests}
    view = View("humaneval-cpp", "test")
    prompt = public_datasets.get("multipl-e").convert(row, view).prompt
    alone = (
        "long sum_of(Pair p) {\n    struct Own {\n        long c;\n    };\n    return p.a + p.b;\n}"
    )
    for index, code in enumerate([alone, f"{struct}\n{alone}"]):
        result = verifier.judge(Sample(prompt, index, fenced(code, "cpp")))
        assert result.success, result


def test_what_it_needs(verifier: JoinedVerifier) -> None:
    """A prompt without tests, or none at all, is a fault."""
    bare = Prompt("p", (Message("user", "Do."),), language="cpp")
    with pytest.raises(VerifierFault, match="prompt 'p' has no tests of a function"):
        verifier.judge(Sample(bare, 0, "x"))
    with pytest.raises(VerifierFault, match="an answer has no tests"):
        verifier.verify("x")
