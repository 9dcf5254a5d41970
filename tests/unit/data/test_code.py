"""Code in texts: blocks, whole or cut, of which language, and its tokens without its names."""

import ast
import builtins
import keyword

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.data.code import Block, code_blocks, find_flaw, misnamed, normal_tokens

_PROGRAM = '''\
def primes(limit):
    """Return the primes below a limit."""
    found = []
    for number in range(2, limit):
        # try those below it
        if all(number % other for other in found):
            found.append(number)
    return found
'''
_RUST = 'fn main() {\n    let mut x: Vec<i32> = Vec::new();\n    println!("{}", x.len());\n}\n'
_GO = 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("x")\n}\n'
_CPP = "#include <vector>\nint main() {\n  std::vector<int> v;\n  return v.size();\n}\n"
_JAVA = (
    "public class Main {\n  public static void main(String[] args) {\n"
    '    System.out.println("x");\n  }\n}\n'
)
_WHOLE = {"python": _PROGRAM, "rust": _RUST, "go": _GO, "cpp": _CPP, "java": _JAVA}


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("no code", []),
        ("```py\nx\n```", [Block("x", "python", closed=True)]),
        ("~~~\na\n```\n~~~", [Block("a\n```", "", closed=True)]),
        ("````md\n```\n````", [Block("```", "md", closed=True)]),
        ("1. so:\n   ```C++\n   x;\n   ```\nand", [Block("   x;", "cpp", closed=True)]),
        ("> ```rust\n> x", [Block("x", "rust", closed=False)]),
        ("```{.python .cell}\nx\n```", [Block("x", "python", closed=True)]),
        ("```\na\n```\n```js\n```", [Block("a", "", True), Block("", "javascript", True)]),
        ("inline ```x``` only", []),
    ],
)
def test_blocks(text, blocks):
    """Fences of both kinds, longer ones, in lists and quotes, and one that stays open."""
    assert code_blocks(text) == blocks


@pytest.mark.parametrize(
    "line", [" " * 300_000 + "x ```", "> " * 150_000 + "x ~~~", "~" * 300_000 + "`"]
)
def test_a_long_line_is_read_once(line):
    """A line that looks like a fence up to its end costs no more than its length."""
    assert code_blocks(line) == []


@pytest.mark.parametrize("language", _WHOLE)
def test_whole_programs_have_no_flaw(language):
    """A whole program is whole, and in the language it says."""
    code = _WHOLE[language]
    assert find_flaw(code, language) is None
    assert misnamed(code, language) is None


@pytest.mark.parametrize("language", _WHOLE)
def test_programs_cut_in_the_middle(language):
    """Cut behind an opening bracket, every program is said to end too early."""
    code = _WHOLE[language]
    cuts = [at + 1 for at, sign in enumerate(code) if sign in "([{"]
    for cut in cuts:
        flaw = find_flaw(code[:cut], language)
        assert flaw is not None
        assert (flaw.rule, flaw.certain) == ("truncated-code", language == "python")


@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    return x +",
        "def f(x):",
        "for i in range(3)",
        "x = 'abc",
        "def f():\n    '''says\n",
        "try:\n    x = 1",
        "if x:\n    y =",
        "a = [1,\n  2",
        "from x import",
    ],
)
def test_python_that_ends_in_the_middle(code):
    """Whatever the parser calls it, the code ended before it was complete."""
    flaw = find_flaw(code, "python")
    assert flaw is not None
    assert flaw.rule == "truncated-code"
    assert flaw.certain


@pytest.mark.parametrize("code", ["print 'x'\ny = 1", "x = f(1))", "a b", "x = 1\n  y = 2\nz"])
def test_python_that_is_wrong(code):
    """A mistake is no cut."""
    flaw = find_flaw(code, "python")
    assert flaw is not None
    assert flaw.rule == "syntax"


def test_hostile_code_is_only_code():
    """Nesting that no parser stands, null bytes and endless lines cost no crash."""
    for code in ("(" * 100_000, "-" * 50_000 + "1", "x\0y", "a" * 199_999, "[" * 90 + "]" * 90):
        for language in ("python", "cpp", "rust", None):
            find_flaw(code, language)
            misnamed(code, language or "go")
            normal_tokens(code, language)


@pytest.mark.parametrize("claimed", _WHOLE)
@pytest.mark.parametrize("real", _WHOLE)
def test_language_mismatch(claimed, real):
    """A whole program under another language's name is found, under its own it is not."""
    expected = None if claimed == real else real
    assert misnamed(_WHOLE[real], claimed) == expected


@pytest.mark.parametrize(
    ("code", "claimed"),
    [
        ("x = 1", "rust"),
        ("return x", "cpp"),
        ("int x = 1;", "python"),
        ("#include <stdio.h>", "c"),
        ("echo hello", "bash"),
        ("SELECT 1", "sql"),
    ],
)
def test_little_code_is_no_mismatch(code, claimed):
    """What says too little about its language is left alone."""
    assert misnamed(code, claimed) is None


_names = st.from_regex(r"[a-z][a-z_]{0,8}[a-z]", fullmatch=True).filter(
    lambda name: name not in {*keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
)


def _renamed(code, names):
    """The program with its own names replaced, by Python's own parser and printer."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg = names.get(node.arg, node.arg)
        elif isinstance(node, ast.FunctionDef):
            node.name = names.get(node.name, node.name)
    return ast.unparse(tree)


@settings(deadline=None, max_examples=50)
@given(st.lists(_names, min_size=5, max_size=5, unique=True))
def test_names_do_not_matter(names):
    """Whatever an author calls things, the tokens are the same; comments and layout too."""
    own = ("primes", "limit", "found", "number", "other")
    known = frozenset(normal_tokens(" ".join(names), "python"))
    if known != {"V"}:
        return  # a word that other languages keep
    code = _renamed(_PROGRAM, dict(zip(own, names, strict=True)))
    assert normal_tokens(code, "python") == normal_tokens(_renamed(_PROGRAM, {}), "python")


def test_what_matters():
    """Numbers, operators, built-ins and members tell programs apart; texts do not."""
    tokens = [normal_tokens(code) for code in ("x + 1", "x - 1", "x + 2", "len(x)", "x.len()")]
    assert len({tuple(one) for one in tokens}) == 5
    assert normal_tokens("say('a') # so") == normal_tokens('tell("b")')
    assert normal_tokens("int a = f(b); // c", "cpp") == normal_tokens("int x=g(y);", "cpp")
