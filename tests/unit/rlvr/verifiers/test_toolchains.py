"""Every row of the toolchain table with its real compiler, rung by rung."""

from __future__ import annotations

import pytest

from halo_forge.core.errors import VerifierFault
from halo_forge.rlvr.verifiers import (
    AutoVerifier,
    ClangVerifier,
    ExecutionVerifier,
    GCCVerifier,
    GoVerifier,
    MinGWVerifier,
    PythonVerifier,
    RustVerifier,
)
from halo_forge.rlvr.verifiers import toolchain as toolchain_module
from halo_forge.rlvr.verifiers.compile import CompileVerifier
from halo_forge.rlvr.verifiers.toolchains import TOOLCHAINS

C_BODY = """\
int main() {{
    int a, b;
    if (scanf("%d %d", &a, &b) != 2) return 1;
    {extra}
    printf("%d\\n", a {sign} b);
    return 0;
}}
"""
C = "#include <stdio.h>\n" + C_BODY
CPP = "#include <cstdio>\nusing namespace std;\n" + C_BODY
RUST = """\
use std::io::{{self, Read}};

fn main() {{
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).unwrap();
    let n: Vec<i64> = text.split_whitespace().map(|w| w.parse().unwrap()).collect();
    {extra}
    println!("{{}}", n[0] {sign} n[1]);
}}
"""
GO = """\
package main

import "fmt"

func main() {{
\tvar a, b int
\tfmt.Scan(&a, &b)
\t{extra}
\tfmt.Println(a {sign} b)
}}
"""
CSHARP = """\
using System;

class Program {{
    static void Main() {{
        var n = Array.ConvertAll(Console.ReadLine().Split(' '), int.Parse);
        {extra}
        Console.WriteLine(n[0] {sign} n[1]);
    }}
}}
"""
PYTHON = """\
a, b = map(int, input().split())
{extra}
print(a {sign} b)
"""

# toolchain: (verifier, program, code that warns, code that crashes, code that does not compile)
CASES = {
    "g++": (GCCVerifier, CPP, "int unused;", "abort_();", "int x = nothing;"),
    "gcc": (GCCVerifier, C, "int unused;", "*(volatile int *)0 = 1;", "int x = nothing;"),
    "clang++": (ClangVerifier, CPP, "int unused;", "", "int x = nothing;"),
    "clang": (ClangVerifier, C, "int unused;", "__builtin_trap();", "int x = nothing;"),
    "mingw-g++": (
        MinGWVerifier, "#include <windows.h>\n" + CPP, "int unused;", "*(volatile int *)0 = 1;",
        "int x = nothing;",
    ),
    "rustc": (RustVerifier, RUST, "let unused = 1;", 'panic!("no");', "let x = nothing;"),
    "go": (GoVerifier, GO, "", 'panic("no")', "unused := 1"),
    "python": (PythonVerifier, PYTHON, "", "raise SystemExit(3)", "if:"),
}  # fmt: skip
FENCES = {
    "g++": "cpp",
    "mingw-g++": "cpp",
    "clang++": "c++",
    "gcc": "c",
    "clang": "c",
    "rustc": "rs",
    "go": "golang",
}


def _marked(names) -> list:
    """Mark each toolchain with what it needs to build and to run."""
    return [
        pytest.param(
            name,
            marks=[
                pytest.mark.toolchain(program)
                for program in (TOOLCHAINS[name].driver, TOOLCHAINS[name].runner)
                if program is not None
            ],
        )
        for name in names
    ]


def _answer(name: str, extra: str = "", sign: str = "+") -> str:
    program = CASES[name][1].format(extra=extra, sign=sign)
    return f"Here it is:\n\n```{FENCES.get(name, name)}\n{program}```\nIt adds two numbers."


def _rung(verifier: CompileVerifier, answer: str) -> tuple[bool, float, str]:
    result = verifier.verify(answer)
    return result.success, result.reward, result.metadata["stage"]


@pytest.mark.parametrize("name", _marked(CASES))
def test_ladder(name, sandbox) -> None:
    """No program, broken, crashing, ending well, wrong and right: each on its rung."""
    kind, _, _, crash, broken = CASES[name]
    verifier = kind(run_after_compile=True, stdin_input="20 22\n", sandbox=sandbox)
    judge = kind(expected_output="42", stdin_input="20 22\n", sandbox=sandbox)
    assert _rung(verifier, "I cannot do that.") == (False, 0.0, "extract")
    failed = verifier.verify(_answer(name, broken))
    assert (failed.success, failed.reward, failed.metadata["stage"]) == (False, 0.0, "compile")
    assert failed.error
    if crash and name != "g++":
        assert _rung(verifier, _answer(name, crash)) == (False, 0.5, "run")
    assert _rung(verifier, _answer(name)) == (True, 0.7, "run")
    assert _rung(judge, _answer(name, sign="-")) == (False, 0.7, "output")
    right = judge.verify(_answer(name))
    assert (right.success, right.reward, right.metadata["stage"]) == (True, 1.0, "output")
    assert right.metadata["integrity"] == "strong"
    assert right.metadata["toolchain"]


@pytest.mark.parametrize("name", _marked(name for name, case in CASES.items() if case[2]))
def test_warnings_count_on_request(name, sandbox) -> None:
    """A program that warns stays on the rung of warnings, where they count."""
    kind, _, warns, _, _ = CASES[name]
    verifier = kind(warn_as_error=True, sandbox=sandbox)
    assert _rung(verifier, _answer(name, warns)) == (False, 0.3, "compile")
    assert _rung(verifier, _answer(name)) == (True, 0.5, "compile")
    assert _rung(kind(sandbox=sandbox), _answer(name, warns)) == (True, 0.5, "compile")


HOLLOW = {
    "rustc": ["fn main() {}", "fn main() { let x = 5; }", "// println!()\nfn main() { }",
              "fn main() { let new = 1; let range = 2; }", "pub fn main() -> () { () }"],
    "go": ["package main\n\nfunc main() {}", "package main\nfunc main() { return }",
           "package main\n// fmt.Println(1)\nfunc main() { var loop int = 1 }"],
    "mcs": ["class P { static void Main() { } }",
            "class P { static int Main(string[] a) { return 0; } }"],
    "g++": ["int main() { int loop; int range = 3; return 0; }"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "code"), [(n, c) for n, codes in HOLLOW.items() for c in codes])
def test_hollow_programs_earn_nothing(name, code) -> None:
    """A program that does nothing is found before any compiler is asked."""
    from halo_forge.rlvr.verifiers.substance import hollow

    assert hollow(code, TOOLCHAINS[name].language) is not None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("rustc", 'fn main() { println!("1"); }'),
        ("rustc", "fn main() { let v = vec![1, 2]; print!(\"{}\", v[0]) }"),
        ("rustc", "use std::io::*; fn main() { stdout().write_all(b\"x\").unwrap(); }"),
        ("rustc", "fn f<'a>(x: &'a str) -> &'a str { x }\nfn main() { print!(\"{}\", f(\"'\")); }"),
        ("go", 'package main\nimport "os"\nfunc main() { os.Stdout.WriteString("1") }'),
        ("go", 'package main\nfunc main() { println(1) }'),
        ("go", 'package main\nimport f "fmt"\nfunc main() { f.Print(`a " b`) }'),
        ("mcs", "class P { static void Main() { System.Console.Write(1); } }"),
        ("mcs", 'using static System.Console;\nWriteLine(@"C:\\\\""x");'),
    ],
)  # fmt: skip
def test_short_programs_are_let_through(name, code) -> None:
    """An honest short program has substance, whatever its strings hold."""
    from halo_forge.rlvr.verifiers.substance import hollow

    assert hollow(code, TOOLCHAINS[name].language, needs_io=True) is None


@pytest.mark.parametrize("name", _marked(("g++", "rustc", "go", "mcs", "python")))
def test_tests_in_every_language(name, sandbox, make_sample) -> None:
    """Tests that travel with the prompt judge a program in any language of the table."""
    programs = {**{key: case[1] for key, case in CASES.items()}, "mcs": CSHARP}
    language = TOOLCHAINS[name].language.name
    verifier = ExecutionVerifier(sandbox=sandbox)
    tests = ({"input": "1 2\n", "expected": "3"}, {"input": "-4 4\n", "expected": "0"})
    from halo_forge.core.types import TestCase

    cases = tuple(TestCase(**case) for case in tests)
    for sign, reward in (("+", 1.0), ("-", 0.5)):
        code = programs[name].format(extra="", sign=sign)
        for text in (f"```{language}\n{code}```", code):
            sample = make_sample(text, language=language, tests=cases)
            assert verifier.judge(sample).reward == reward, text


@pytest.mark.toolchain("g++")
@pytest.mark.toolchain("rustc")
@pytest.mark.toolchain("go")
def test_auto_tells_languages_apart(sandbox) -> None:
    """By the fence's tag, and without one by the look of the program."""
    verifier = AutoVerifier(expected_output="42", stdin_input="20 22\n", sandbox=sandbox)
    for name in ("g++", "rustc", "go", "python"):
        code = CASES[name][1].format(extra="", sign="+")
        for text in (_answer(name), f"```\n{code}```"):
            result = verifier.verify(text)
            assert result.metadata["language"] == TOOLCHAINS[name].language.name
            assert result.reward == 1.0


def test_the_prompt_decides_the_language(sandbox, make_sample) -> None:
    """A right program in another language than the one asked for is not what was asked."""
    verifier = AutoVerifier(expected_output="42", stdin_input="20 22\n", sandbox=sandbox)
    sample = make_sample(_answer("python"), language="cpp")
    assert verifier.judge(sample).reward == 0.0
    with pytest.raises(VerifierFault, match="asks for 'haskell'"):
        verifier.judge(make_sample("x", language="haskell"))


@pytest.mark.toolchain("x86_64-w64-mingw32-g++")
def test_windows_programs_without_wine(sandbox, monkeypatch) -> None:
    """Where nothing runs them they are compiled, and every verdict says so."""
    find = toolchain_module.shutil.which
    monkeypatch.setattr(
        toolchain_module.shutil, "which", lambda name: None if name == "wine" else find(name)
    )
    verifier = MinGWVerifier(expected_output="42", stdin_input="20 22\n", sandbox=sandbox)
    result = verifier.verify(
        "```cpp\n#include <windows.h>\n" + CPP.format(extra="", sign="+") + "```"
    )
    assert (result.success, result.reward, result.metadata["stage"]) == (True, 0.5, "compile")
    assert result.metadata["not_run"] == "wine is not installed"
    assert result.metadata["integrity"] == "weak"


def test_only_what_is_asked_for_is_tried(sandbox, make_sample, monkeypatch) -> None:
    """A compiler that no prompt asks for is neither needed nor part of the fingerprint."""
    monkeypatch.setattr(toolchain_module.shutil, "which", lambda name: None)
    monkeypatch.setattr(toolchain_module, "packages_with", lambda package: None)
    python = make_sample("x", language="python").prompt
    verifier = ExecutionVerifier(sandbox=sandbox)
    verifier.start([python])
    assert "Python" in verifier.fingerprint()
    with pytest.raises(VerifierFault, match="rustc is not on PATH"):
        verifier.start([python, make_sample("x", language="rust").prompt])
    everything = ExecutionVerifier(sandbox=sandbox)
    everything.start()
    assert everything.fingerprint() == verifier.fingerprint()


DOORS = {
    "rustc": [
        'fn main() { print!("{}", include_str!("/etc/passwd")); }',
        'fn main() { print!("{:?}", include_bytes!("/etc/shadow")); }',
        'fn main() { print!("{}", env!("HALO_FORGE_CACHE")); }',
        'extern crate proc_macro_that_is_not_there; fn main() { print!(""); }',
        '#[link(name = "curl")] extern "C" { fn curl_easy_init() -> i64; }\n'
        "fn main() { unsafe { print!(\"{}\", curl_easy_init()) } }",
    ],
    "go": [
        'package main\nimport "C"\nfunc main() { println(C.int(1)) }',
        'package main\n\nimport _ "embed"\n\n//go:embed /etc/passwd\nvar s string\n\n'
        "func main() { print(s) }",
        'package main\nimport "github.com/nobody/nothing"\nfunc main() { nothing.Print() }',
    ],
    "mcs": [
        '#r "/etc/passwd"\nclass P { static void Main() { System.Console.Write(1); } }',
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param(name, code, marks=pytest.mark.toolchain(TOOLCHAINS[name].driver))
        for name, codes in DOORS.items()
        for code in codes
    ],
)
def test_compile_time_doors_are_shut(name, code, sandbox, make_sample) -> None:
    """What a compiler could read or run for a program while it builds is not there."""
    verifier = AutoVerifier(sandbox=sandbox)
    language = TOOLCHAINS[name].language.name
    result = verifier.judge(make_sample(f"```{language}\n{code}\n```", language=language))
    assert (result.reward, result.metadata["stage"]) == (0.0, "compile")
    assert "root:" not in f"{result.error} {result.details}"
