# ruff: noqa: E501 - programs in one line each
"""Precompiled preambles: exactly the program's own includes, and the same verdicts as without."""

from __future__ import annotations

from dataclasses import replace

import pytest

from halo_forge.rlvr.verifiers import GCCVerifier, workbench
from halo_forge.rlvr.verifiers.preamble import exact_preamble, precompiled
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


def _kept(source: str, flags=("-O1",)):
    return precompiled(source, TOOLCHAINS["g++"], "/usr/bin/g++", "12", flags)


def test_key_is_everything_the_header_depends_on() -> None:
    """Other headers, another order, other flags, another compiler: another key."""
    one = _kept("#include <map>\n#include <set>\n")
    keys = {
        one.key,
        _kept("#include <set>\n#include <map>\n").key,
        _kept("#include <map>\n").key,
        _kept("#include <map>\n#include <set>\n", ("-O2",)).key,
        precompiled("#include <map>\n", TOOLCHAINS["gcc"], "/usr/bin/gcc", "12", ("-O1",)).key,
    }
    assert len(keys) == 5
    assert one.key == _kept("#include <map>\n#include <set>\nint main() {}\n").key
    assert _kept("int main() {}\n") is None
    assert precompiled("#include <map>\n", TOOLCHAINS["clang++"], "x", "1", ()) is None


PROGRAMS = {
    "right": "#include <iostream>\n#include <vector>\nint main() { std::vector<int> v(3); std::cout << v.size(); }\n",
    "missing include": "#include <iostream>\n#include <vector>\nint main() { std::map<int, int> m; std::cout << m.size(); }\n",
    "error": "#include <iostream>\n#include <vector>\nint main() { std::cout << nothing; }\n",
    "warning": "#include <iostream>\n#include <vector>\nint main() { int unused; std::cout << 3; }\n",
    "redefines": "#include <iostream>\n#include <vector>\n#define cout cerr\nint main() { std::cout << 3; }\n",
    "no such header": "#include <iostream>\n#include <no_such_header>\nint main() { std::cout << 3; }\n",
    "only what is used": "#include <iostream>\nint main() { std::vector<int> v; std::cout << v.size(); }\n",
    "line": "#include <iostream>\n#include <vector>\n#include <assert.h>\nint main() { std::cout << __LINE__; }\n",
    "c": "#include <stdio.h>\nint main(void) { puts(\"3\"); return 0; }\n",
}  # fmt: skip


@pytest.mark.toolchain("g++")
@pytest.mark.parametrize("name", PROGRAMS)
def test_verdicts_are_the_same(name, sandbox, monkeypatch) -> None:
    """With the preamble precompiled a program gets the verdict that it gets without."""
    verifier = GCCVerifier(expected_output="3", warn_as_error=True, sandbox=sandbox)
    source = PROGRAMS[name].replace("// fmt", "")
    answer = f"```{'c' if name == 'c' else 'cpp'}\n{source}```"
    first, second, third = (verifier.verify(answer) for _ in range(3))
    monkeypatch.setattr(workbench, "precompiled", lambda *_: None)
    assert first == second == third == verifier.verify(answer)


@pytest.mark.toolchain("g++")
def test_the_header_is_really_used(sandbox) -> None:
    """From the second build on GCC says that it took the precompiled header."""
    if sandbox.backend != "namespaces":
        pytest.skip(f"the backend {sandbox.backend} keeps nothing for builds")
    tool = TOOLCHAINS["g++"]
    source = "#include <iostream>\n#include <set>\nint main() { std::cout << 3; }\n"
    kept = precompiled(source, tool, "/usr/bin/g++", "the header is really used", ("-O1",))
    argv = (*tool.build_argv("/usr/bin/g++", ("-O1",)), "-H", "-Winvalid-pch")
    build = Step(argv, limits=kept.build.limits)
    job = Job({"main.cpp": source.encode()}, build, (), kept=kept)
    builds = [sandbox.run(job).build for _ in range(6)]
    assert all(build.ok for build in builds)
    # Two workers, and each makes it when it is asked for the second time.
    used = [f"! /kept/{kept.key}/preamble.h.gch" in build.stderr.decode() for build in builds]
    assert not used[0]
    assert used.count(True) >= 2
    assert sum(b"invalid" in build.stderr for build in builds) == 0


@pytest.mark.toolchain("g++")
def test_a_linker_that_does_not_work_is_not_taken(sandbox) -> None:
    """The fastest linker is tried like everything else; one that fails is left alone."""
    bench = workbench.Workbench(sandbox, 1, workbench.Budget(30, 5, 512))
    broken = replace(TOOLCHAINS["g++"], name="broken", linkers=(("sh", "-fuse-ld=no_such"),))
    assert bench.tool(broken, ("-O1",)).flags == ("-O1",)
    working = replace(TOOLCHAINS["g++"], name="working", linkers=(("sh", "-fuse-ld=bfd"),))
    assert bench.tool(working, ("-O1",)).flags == ("-O1", "-fuse-ld=bfd")
