# ruff: noqa: E501 - programs in one line each
"""Precompiled preambles: exactly the program's own includes, and the same verdicts as without."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest

from halo_forge.core.types import VerifyResult
from halo_forge.rlvr.verifiers import GCCVerifier, workbench
from halo_forge.rlvr.verifiers.preamble import Preambles, exact_preamble, precompiled
from halo_forge.rlvr.verifiers.scripts import INSTANTIATE_EARLY
from halo_forge.rlvr.verifiers.toolchains import TOOLCHAINS
from halo_forge.sandbox import Job, Step


@pytest.mark.parametrize(
    ("source", "headers"),
    [
        ("#include <iostream>\n#include<map>\n  #  include <sys/types.h> // why\nint x;\n#include <set>",
         ("iostream", "map", "sys/types.h")),
        ("// first\n\n/* a note */\n#include <iostream>\n/** two * stars **/\n#include <map>\n",
         ("iostream", "map")),
        ("#include <map>\n#include <map>\n", ("map", "map")),
        ("int x;\n#include <map>\n", ()),
        ("#define X\n#include <map>\n", ()),
        ("#pragma once\n#include <map>\n", ()),
        ('#include "map"\n#include <map>\n', ()),
        ("#include <map>\n#define Y\n#include <set>\n", ("map",)),
        ("#include <map>\n/*\n#include <set>\n*/\n", ("map",)),
        ("#include <map>\n/* x */ int y; /* z */\n#include <set>\n", ("map",)),
        ("#include <map>\n// a comment that goes on \\\n#include <set>\n", ("map",)),
        ("#include <map>\n// a comment that goes on \\ \n#include <set>\n", ("map",)),
        ("#include <map>\n// a comment that goes on ??/\n#include <set>\n", ("map",)),
        ("#include <map> \\\n\n#include <set>\n", ()),
        ("#include </dev/zero>\n", ()),
        ("#include <../../etc/passwd>\n", ()),
        ("#include <a/../../b>\n", ()),
        ("#include <-o>\n", ()),
        ("#include <map> int x;\n", ()),
        ("#include MACRO\n#include <map>\n", ()),
        ("%:include <map>\n", ()),
        ("\ufeff#include <map>\n", ()),
        ("", ()),
    ],
)  # fmt: skip
def test_exact_preamble(source, headers) -> None:
    """Only leading includes of system headers count, in their order, and nothing is guessed."""
    assert exact_preamble(source) == headers


def _kept(*headers: str, flags=("-O1",), name="g++"):
    return precompiled(headers, TOOLCHAINS[name], f"/usr/bin/{name}", "12", flags)


def test_key_is_everything_the_header_depends_on() -> None:
    """Other headers, another order, other flags, another compiler: another key."""
    keys = {
        _kept("map", "set").key,
        _kept("set", "map").key,
        _kept("map").key,
        _kept("map", "set", flags=("-O2",)).key,
        _kept("map", name="gcc").key,
    }
    assert len(keys) == 5
    assert _kept("map", "set").key in keys


def test_what_is_wanted_often_is_precompiled() -> None:
    """The fourth program decides; more than the beginning that is there pays off later."""
    preambles = Preambles()
    short, long = ("map",), ("map", "set", "list")
    assert [preambles.choose("g++", short) for _ in range(4)] == [(), (), (), short]
    assert {preambles.choose("g++", long) for _ in range(31)} == {short}
    assert preambles.choose("g++", long) == long
    assert preambles.choose("g++", short) == short
    assert preambles.choose("g++", ("map", "set")) == short
    assert preambles.choose("gcc", short) == ()
    assert preambles.choose("g++", ()) == ()


def test_the_common_beginning_of_different_programs_is_precompiled() -> None:
    """Headers that nobody else includes cost a program nothing of what others share."""
    preambles = Preambles()
    chosen = [preambles.choose("g++", ("iostream", f"header{n}")) for n in range(6)]
    assert chosen == [(), (), (), *[("iostream",)] * 3]


def test_a_flood_of_includes_is_bounded() -> None:
    """Ten thousand headers are counted by their first few."""
    headers = tuple(f"h{number}" for number in range(10_000))
    preambles = Preambles()
    chosen = [preambles.choose("g++", headers) for _ in range(4)]
    assert 0 < len(chosen[-1]) <= 16


_TWO = "#include <cstdio>\n#include <vector>\n"
PROGRAMS = {
    "right": "#include <iostream>\n#include <vector>\nint main() { std::vector<int> v(3); std::cout << v.size(); }\n",
    "missing include": "#include <iostream>\n#include <vector>\nint main() { std::map<int, int> m; std::cout << m.size(); }\n",
    "error": "#include <iostream>\n#include <vector>\nint main() { std::cout << nothing; }\n",
    "warning": "#include <iostream>\n#include <vector>\nint main() { int unused; std::cout << 3; }\n",
    "redefines": "#include <iostream>\n#include <vector>\n#define cout cerr\nint main() { std::cout << 3; }\n",
    "no such header": "#include <iostream>\n#include <no_such_header>\nint main() { std::cout << 3; }\n",
    "only what is used": "#include <iostream>\nint main() { std::vector<int> v; std::cout << v.size(); }\n",
    "line": "#include <iostream>\n#include <vector>\n#include <assert.h>\nint main() { std::cout << __LINE__; }\n",
    "undefined function": _TWO + "void gone(); int main() { gone(); std::printf(\"%d\", int(3)); }\n",
    "static member": _TWO + "struct S { static const int n = 3; }; int main() { std::printf(\"%d\", int(std::max(S::n, 1))); }\n",
    "no main": _TWO + "int other() { return 3; }\n",
    "two mains": _TWO + "int main() { std::printf(\"%d\", int(3)); } int main() { return 1; }\n",
    "two errors": _TWO + "int main() { int a = nothing; int b = nowhere; std::printf(\"%d\", int(a + b)); }\n",
    "error after a warning": _TWO + "int main() { int unused; std::printf(\"%d\", int(nothing)); }\n",
    "mutes warnings": _TWO + "#pragma GCC diagnostic ignored \"-Wall\"\nint main() { int unused; std::printf(\"%d\", int(3)); }\n",
    "error directive": _TWO + "#error stop here\nint main() { std::printf(\"%d\", int(3)); }\n",
    "static assertion": _TWO + "static_assert(sizeof(int) == 1); int main() { std::printf(\"%d\", int(3)); }\n",
    "template error": _TWO + "int main() { std::vector<int> v; v.push_back(stdout); std::printf(\"%d\", int(3)); }\n",
    "deep template": _TWO + "template <int N> struct T { static const int v = T<N - 1>::v; }; int main() { std::printf(\"%d\", int(T<5>::v)); }\n",
    "wrong output": _TWO + "int main() { std::printf(\"%d\", int(4)); }\n",
    "crash": _TWO + "int main() { std::printf(\"3\"); std::fflush(stdout); __builtin_trap(); }\n",
    "exit code": _TWO + "int main() { std::printf(\"%d\", int(3)); return 1; }\n",
    "endless macro": _TWO + "#define A A A\nint main() { A; }\n",
    "redefines a keyword": _TWO + "#define int long\nint main() { std::printf(\"%d\", int(3)); }\n",
    "poison": _TWO + "#pragma GCC poison printf\nint main() { std::printf(\"%d\", int(3)); }\n",
    "guard of a header": _TWO + "#ifdef _GLIBCXX_VECTOR\nint main() { std::printf(\"%d\", int(3)); }\n#endif\n",
    "header of a later place": _TWO + "#include <set>\nint main() { std::set<int> s{3}; std::printf(\"%d\", int(*s.begin())); }\n",
    "undefines": _TWO + "#undef _GLIBCXX_VECTOR\n#include <vector>\nint main() { std::puts(\"3\"); }\n",
    "file name": _TWO + "int main() { std::printf(\"%d\", int((__FILE__[0] == 'm' ? 3 : 4))); }\n",
    "include level": _TWO + "int main() { std::printf(\"%d\", int(3 + __INCLUDE_LEVEL__)); }\n",
    "counter": _TWO + "int main() { std::printf(\"%d\", int(3 + __COUNTER__)); }\n",
    "base file": _TWO + "int main() { std::printf(\"%d\", int((__BASE_FILE__[0] == 'm' ? 3 : 4))); }\n",
    "not ascii": _TWO + "int main() { const char* s = \"é\"; std::printf(\"%d\", int((s[0] ? 3 : 4))); }\n",
    "unused parameter": _TWO + "int f(int x) { return 3; } int main() { std::printf(\"%d\", int(f(1))); }\n",
    "sign compare": _TWO + "int main() { std::vector<int> v(3); int n = 0; for (int i = 0; i < v.size(); ++i) ++n; std::printf(\"%d\", int(n)); }\n",
    "specialises": "#include <iostream>\n#include <vector>\nnamespace std { template <> struct hash<int*> { int operator()(int*) const { return 3; } }; template <> void swap(int&, int&) noexcept {} }\nint main() { std::cout << std::hash<int*>{}(nullptr); }\n",
    "instantiates": "#include <iostream>\n#include <vector>\ntemplate class std::vector<int>;\nint main() { std::cout << std::stoi(\"3\") + std::to_string(7).size() - 1; }\n",
    "specialises too late": "#include <iostream>\n#include <vector>\ntemplate <> std::string std::operator+(const std::string&, const char*) { return {}; }\nint main() { std::cout << 3; }\n",
    "hides a name that templates use": "#include <iostream>\n#include <vector>\nnamespace std { int strtol(...) { return 3; } int vsnprintf(int) { return 3; } }\nint main() { std::cout << std::stol(\"3\"); }\n",
    "c": "#include <stdio.h>\nint main(void) { puts(\"3\"); return 0; }\n",
}  # fmt: skip


def _verdicts(sandbox) -> list[VerifyResult]:
    """Judge all programs, after some that have the headers precompiled."""
    verifier = GCCVerifier(expected_output="3", warn_as_error=True, sandbox=sandbox)
    for head in ("#include <iostream>\n#include <vector>\n", _TWO, "#include <iostream>\n"):
        for _ in range(5):
            verifier.verify(head + "int main() { gone; }\n")
    answers = [f"```{'c' if name == 'c' else 'cpp'}\n{PROGRAMS[name]}```" for name in PROGRAMS]
    return verifier.verify_batch(answers)


@pytest.mark.toolchain("g++")
def test_verdicts_are_the_same(sandbox, monkeypatch) -> None:
    """With the preamble precompiled a program gets the verdict that it gets without."""
    if sandbox.backend != "namespaces":
        pytest.skip(f"the backend {sandbox.backend} keeps nothing for builds")
    fast = _verdicts(sandbox)
    monkeypatch.setattr(workbench.Preambles, "choose", lambda *_: ())
    for name, mine, plain in zip(PROGRAMS, fast, _verdicts(sandbox), strict=True):
        assert mine == plain, name
    assert len({verdict.reward for verdict in fast}) >= 4


@pytest.mark.toolchain("g++")
def test_the_header_is_really_used(sandbox) -> None:
    """GCC says that it took the precompiled header, of the whole preamble or of its beginning."""
    if sandbox.backend != "namespaces":
        pytest.skip(f"the backend {sandbox.backend} keeps nothing for builds")
    tool = TOOLCHAINS["g++"]
    source = "#include <iostream>\n#include <set>\nint main() { std::cout << 3; }\n"
    linkers = [flag for program, flag in tool.linkers if shutil.which(program)]
    cases = [(("iostream", "set"), ("-O1",)), (("iostream",), ("-O1",))]
    cases += [(("iostream",), ("-O1", linker)) for linker in linkers]
    for headers, flags in cases:
        kept = precompiled(headers, tool, "/usr/bin/g++", "the header is really used", flags)
        argv = (*tool.build_argv("/usr/bin/g++", flags), "-H", "-Winvalid-pch")
        build = Step(argv, limits=kept.build.limits)
        job = Job({"main.cpp": source.encode()}, build, (), kept=kept)
        for _ in range(2):
            said = sandbox.run(job).build
            assert said.ok
            assert re.search(rb"^! /kept/\w+/preamble.h.gch$", said.stderr, re.MULTILINE)
            assert b"invalid" not in said.stderr


@pytest.mark.toolchain("g++")
@pytest.mark.parametrize("plugin", [True, False])
def test_what_headers_instantiate_is_in_the_header(sandbox, plugin) -> None:
    """A program's build instantiates no template of the header's; without the plug-in it does."""
    if sandbox.backend != "namespaces":
        pytest.skip(f"the backend {sandbox.backend} keeps nothing for builds")
    tool, flags = TOOLCHAINS["g++"], ("-O1",)
    broken = ("#error" if part == INSTANTIATE_EARLY else part for part in tool.precompile)
    tool = tool if plugin else replace(tool, precompile=tuple(broken))
    kept = precompiled(("iostream",), tool, "/usr/bin/g++", f"plug-in: {plugin}", flags)
    # -Q names each function when GCC has read it, templates "[with" their arguments
    build = Step((*tool.build_argv("/usr/bin/g++", flags), "-Q", "-H"), limits=kept.build.limits)
    source = b"#include <iostream>\nint main() { std::cout << 3; }\n"
    said = sandbox.run(Job({"main.cpp": source}, build, kept=kept)).build
    assert said.ok
    assert re.search(rb"^! /kept/\w+/preamble.h.gch$", said.stderr, re.MULTILINE)
    assert (b"[with" in said.stderr) is not plugin


@pytest.mark.toolchain("g++")
def test_a_header_that_is_refused_changes_nothing(sandbox) -> None:
    """GCC takes no header that was made with other flags; the program compiles all the same."""
    tool = TOOLCHAINS["g++"]
    kept = precompiled(("cstdio",), tool, "/usr/bin/g++", "refused", ("-O1", "-fno-exceptions"))
    build = Step((*tool.build_argv("/usr/bin/g++", ("-O1",)), "-Winvalid-pch"))
    source = b'#include <cstdio>\nint main() { std::puts("3"); }\n'
    said = sandbox.run(Job({"main.cpp": source}, build, kept=kept)).build
    assert said.ok
    assert (b"preamble.h.gch" in said.stderr) == (sandbox.backend == "namespaces")


@pytest.mark.toolchain("g++")
def test_a_linker_that_does_not_work_is_not_taken(sandbox) -> None:
    """The fastest linker is tried like everything else; one that fails is left alone."""
    bench = workbench.Workbench(sandbox, 1, workbench.Budget(30, 5, 512))
    broken = replace(TOOLCHAINS["g++"], name="broken", linkers=(("sh", "-fuse-ld=no_such"),))
    assert bench.tool(broken, ("-O1",)).flags == ("-O1",)
    working = replace(TOOLCHAINS["g++"], name="working", linkers=(("sh", "-fuse-ld=bfd"),))
    assert bench.tool(working, ("-O1",)).flags == ("-O1", "-fuse-ld=bfd")
