"""GCC's ladder: every rung is reached by the program that deserves it, and by no other."""

from __future__ import annotations

import pytest

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import TestCase
from halo_forge.rlvr.verifiers import GCCVerifier

pytestmark = [pytest.mark.toolchain("g++"), pytest.mark.toolchain("gcc")]

ADD = """\
#include <cstdio>
int main() { int a, b; std::scanf("%d%d", &a, &b); std::printf("%d\\n", a + b); }
"""
C_ONLY = """\
#include <stdlib.h>
#include <stdio.h>
int main(void) { int *new = malloc(4); free(new); puts("x"); }
"""
WITH_MATH = """\
#include <math.h>
#include <stdio.h>
int main(int n, char **a) { printf("%f", sin(n)); }
"""
TESTS = (TestCase("1 2", "3"), TestCase("2 2", "4"))


def cpp(body: str, head: str = "#include <cstdio>\n#include <cstdlib>") -> str:
    """Return a fenced program with a body of main."""
    return f"```cpp\n{head}\nint main() {{ {body} }}\n```"


@pytest.fixture(scope="module")
def compiler(sandbox):
    """A verifier that compiles only."""
    return GCCVerifier(sandbox=sandbox)


@pytest.fixture(scope="module")
def runner(sandbox):
    """A verifier that compiles and runs."""
    return GCCVerifier(run_after_compile=True, run_timeout=0.5, sandbox=sandbox)


def test_hidden_tests_are_reported_not_rewarded(sandbox, make_sample) -> None:
    """A program made for the visible tests keeps its reward; one that hangs later does too."""
    add = 'int a, b; std::scanf("%d%d", &a, &b);'
    hidden = (TestCase("5 6", "11"), TestCase("7 7", "14"))
    right, cheat = f'{add} std::printf("%d", a + b);', f'{add} std::printf("%d", a + 2);'
    stuck = f'{add} while (a > 4); std::printf("%d", a + b);'
    with GCCVerifier(
        run_after_compile=True, run_timeout=0.5, score_hidden=True, sandbox=sandbox
    ) as verifier:
        found = [
            verifier.judge(make_sample(cpp(body), tests=TESTS, hidden_tests=hidden))
            for body in (right, cheat, stuck)
        ]
    assert [(one.success, one.reward) for one in found] == [(True, 1.0)] * 3
    assert [one.metadata["tests_total"] for one in found] == [2] * 3
    assert [one.metadata["hidden_passed"] for one in found] == [2, 0, 0]
    assert {one.metadata["hidden_total"] for one in found} == {2}
    assert {tuple(one.metadata["limits"]) for one in found} == {()}


def test_compile_only(compiler) -> None:
    """What compiles gets 0.5 and is a success; what does not gets 0 and the first error."""
    good = compiler.verify(cpp('std::puts("x");'))
    assert (good.success, good.reward, good.metadata["stage"]) == (True, 0.5, "compile")
    assert good.metadata["integrity"] == "weak"
    assert "g++" in good.metadata["toolchain"]
    bad = compiler.verify(cpp("std::puts(x); std::puts(y);"))
    assert (bad.success, bad.reward, bad.metadata["diagnostic"]) == (False, 0.0, "undeclared")
    assert "main.cpp:3" in bad.error
    assert "y" not in bad.error.replace("type", "")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (cpp("int x = f(1 + ;"), "syntax"),
        (cpp("extern int f(int); return f(1);"), "link"),
        (cpp("f(1);", "#include <nowhere.h>\nvoid f(int);"), "missing-header"),
        (cpp("int *p = 1.5; f(p);", "void f(int*);"), "type"),
    ],
)
def test_diagnostics_are_classified(compiler, code: str, kind: str) -> None:
    """The class of the first diagnostic is recorded."""
    assert compiler.verify(code).metadata["diagnostic"] == kind


def test_gate_comes_before_the_compiler(compiler) -> None:
    """Programs that do nothing get nothing for compiling."""
    for text in ("int main(){}", "```cpp\nint main() { return 0; }\n```", "", "No."):
        verdict = compiler.verify(text)
        assert (verdict.success, verdict.reward) == (False, 0.0)
        assert verdict.metadata["stage"] in {"extract", "substance"}


def test_runs(runner) -> None:
    """Without anything expected, ending well is the highest rung."""
    clean = runner.verify(cpp('std::puts("x");'))
    assert (clean.success, clean.reward, clean.metadata["integrity"]) == (True, 0.7, "weak")
    crash = runner.verify(cpp('std::puts("x"); std::abort();'))
    assert (crash.success, crash.reward, crash.metadata["stage"]) == (False, 0.5, "run")
    assert "SIGABRT" in crash.details
    endless = runner.verify(cpp("for (volatile int i = 0;;) i = i + 1;"))
    assert (endless.reward, endless.metadata["limits"]) == (0.5, ["cpu_limit"])


def test_right_output_reaches_the_top(runner, make_sample) -> None:
    """The prompt's tests decide between 0.7 and 1.0."""
    right = runner.judge(make_sample(ADD, tests=TESTS))
    assert (right.success, right.reward, right.metadata["integrity"]) == (True, 1.0, "strong")
    assert right.metadata["tests_passed"] == 2
    wrong = runner.judge(make_sample(ADD.replace("a + b", "3"), tests=TESTS))
    assert (wrong.success, wrong.reward, wrong.metadata["stage"]) == (False, 0.7, "output")
    assert wrong.details == "compiles; test 2: expected '4', got '3'"
    single = runner.judge(make_sample(cpp('std::puts("hi");'), expected_output="hi"))
    assert single.reward == 1.0


def test_expected_output_of_the_verifier(sandbox) -> None:
    """Expected output and input can be given once for all prompts."""
    verifier = GCCVerifier(expected_output="5", stdin_input="2 3", sandbox=sandbox)
    assert verifier.verify(ADD).reward == 1.0
    assert verifier.verify(ADD.replace("+", "*")).reward == 0.7


def test_warnings(sandbox) -> None:
    """Where warnings count, one of them or a pragma against them ends the ladder at 0.3."""
    verifier = GCCVerifier(warn_as_error=True, sandbox=sandbox)
    assert verifier.verify(cpp('std::puts("x");')).reward == 0.5
    warned = verifier.verify(cpp('int unused; std::puts("x");'))
    assert (warned.success, warned.reward) == (False, 0.3)
    assert "unused" in warned.error
    muted = '#pragma GCC diagnostic ignored "-Wunused"\n#include <cstdio>'
    assert verifier.verify(cpp('int unused; std::puts("x");', muted)).reward == 0.3
    assert GCCVerifier(sandbox=sandbox).verify(cpp('int unused; std::puts("x");')).reward == 0.5


def test_c_and_cpp_have_their_own_drivers(compiler, make_sample) -> None:
    """The prompt's language decides, then the fence tag, then C++ is assumed."""
    assert compiler.verify(f"```c\n{C_ONLY}\n```").metadata["language"] == "c"
    assert compiler.verify(f"```c\n{C_ONLY}\n```").reward == 0.5
    assert compiler.verify(C_ONLY).reward == 0.0
    assert compiler.judge(make_sample(f"```cpp\n{C_ONLY}\n```", language="c")).reward == 0.5
    assert compiler.verify(f"```c\n{WITH_MATH}\n```").reward == 0.5


def test_function_is_compiled_without_main(compiler, make_sample) -> None:
    """A prompt that asks for a function gets it compiled, not linked."""
    sample = make_sample("```cpp\nint add(int a, int b) { return a + b; }\n```", entry_point="add")
    assert compiler.judge(sample).reward == 0.5


def test_other_language_is_a_fault(compiler, make_sample) -> None:
    """A Python prompt is no failure of the model: the verifier was chosen wrongly."""
    with pytest.raises(VerifierFault, match=r"p1.*python.*cpp, c"):
        compiler.judge(make_sample("print(1)", language="python"))


def test_flags_are_the_callers(sandbox) -> None:
    """Given flags replace the defaults; flags that break the compiler are a fault, not zeros."""
    code = cpp('auto f = [](auto... x) { return (x + ...); }; std::printf("%d", f(1, 2));')
    assert GCCVerifier(flags=["-std=c++17"], sandbox=sandbox).verify(code).reward == 0.5
    assert GCCVerifier(flags=["-std=c++11", "-Werror"], sandbox=sandbox).verify(code).reward == 0.0
    with pytest.raises(VerifierFault, match="correct program"):
        GCCVerifier(flags=["-fno-such-flag"], sandbox=sandbox).start()


def test_host_files_do_not_reach_diagnostics(compiler) -> None:
    """The compiler neither includes nor quotes files of the host."""
    for head in ('#include "/etc/shadow"', '#line 1 "/etc/passwd"\nerror here'):
        verdict = compiler.verify(cpp('std::puts("x");', head))
        assert verdict.reward == 0.0
        assert "root" not in verdict.error


def test_compiler_bombs_are_verdicts(sandbox) -> None:
    """What is made to exhaust the compiler gets 0 within its limits."""
    verifier = GCCVerifier(timeout=1, sandbox=sandbox)
    for head in (
        "#include </dev/zero>\n#include <cstdio>",
        "template<int N> struct A { A<N+1> a; };\n#include <cstdio>\nA<0> a;",
        "#include __FILE__",
        'asm(".rept 1000000000\\n.byte 1\\n.endr");\n#include <cstdio>',
    ):
        verdict = verifier.verify(cpp('puts("x");', head))
        assert (verdict.reward, verdict.metadata["stage"]) == (0.0, "compile")
        assert len(verdict.error) <= 2048
