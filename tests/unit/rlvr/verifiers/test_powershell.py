"""PowerShell: whether it parses, and by whose word."""

from __future__ import annotations

import re

import pytest

from halo_forge.core.errors import VerifierFault
from halo_forge.rlvr.verifiers import AutoVerifier, ExecutionVerifier, PowerShellVerifier
from halo_forge.rlvr.verifiers.substance import hollow
from halo_forge.rlvr.verifiers.toolchains import TOOLCHAINS

SCRIPT = """\
param(
    [string]$Name = "world",
    [int]$Count = 3
)

class Greeter {
    [string]$Word
    Greeter([string]$word) { $this.Word = $word }
    [string] Greet([string]$name) { return "$($this.Word), $name!" }
}

function Get-Greeting {
    param([string]$Name)
    $text = @"
A here-string with # no comment and a "quote".
"@
    return $text + $Name
}

# a comment with { an open brace
try {
    1..$Count | ForEach-Object { Get-Greeting -Name $Name } | Where-Object { $_.Length -gt 3 }
    switch ($Count) {
        1 { 'one' }
        default { 'many' }
    }
}
catch {
    Write-Error $_.Exception.Message
}
"""


@pytest.fixture(scope="module")
def verifier(sandbox) -> PowerShellVerifier:
    """A verifier by whatever parser there is."""
    made = PowerShellVerifier(run_after_compile=True, sandbox=sandbox)
    made.start()
    return made


def test_a_right_script(verifier) -> None:
    """A script that parses is on the rung of what compiles; it is never run."""
    for answer in (f"```powershell\n{SCRIPT}```", f"```ps1\n{SCRIPT}```", SCRIPT):
        result = verifier.verify(answer)
        assert (result.success, result.reward, result.metadata["stage"]) == (True, 0.5, "compile")
        assert result.metadata["language"] == "powershell"
        assert result.metadata["integrity"] == "weak"


@pytest.mark.parametrize(
    "code",
    [
        "if ($x) {\n    Write-Output 1\n",
        "Write-Output 1\n$x = @(1, 2\nWrite-Output 2\n",
        "$h = @{ a = }\n",
        "foreach ($x of $y) { $x }\n",
        'Write-Output "no end\n',
    ],
)
def test_a_broken_script(verifier, code) -> None:
    """A script that does not parse gets nothing, with the line."""
    result = verifier.verify(f"```powershell\n{code}```")
    assert (result.success, result.reward, result.metadata["stage"]) == (False, 0.0, "compile")
    assert re.match(r"main\.ps1:[123]: ", result.error)


def test_empty_scripts_earn_nothing() -> None:
    """Comments are no script."""
    language = TOOLCHAINS["pwsh"].language
    for code in ("", "# nothing\n", "<# Get-Process\n#>\n", '""', "# a\n\n# b"):
        assert hollow(code, language) is not None
    for code in ("Get-Process", "1 + 1", "$x = 3", "'text'.Length"):
        assert hollow(code, language) is None


def test_the_heuristic_is_named(verifier) -> None:
    """Without PowerShell itself each verdict says that a grammar spoke."""
    result = verifier.verify("```powershell\nGet-Process\n```")
    grammar = result.metadata["toolchain"].startswith("tree-sitter")
    assert ("heuristic" in result.metadata) == grammar


def test_tests_cannot_be_run(sandbox, make_sample) -> None:
    """What is never run cannot be tested; that is said and not scored."""
    from halo_forge.core.types import TestCase

    sample = make_sample("Get-Date", language="powershell", tests=(TestCase("", "x"),))
    with pytest.raises(VerifierFault, match=r"never run|not on PATH"):
        ExecutionVerifier(sandbox=sandbox).judge(sample)


def test_auto_tells_powershell(sandbox) -> None:
    """By its tag, and by its look."""
    auto = AutoVerifier(sandbox=sandbox)
    script = "$x = 1\nWrite-Output $x"
    for answer in (f"```powershell\n{script}\n```", f"```\n{script}\n```"):
        assert auto.verify(answer).metadata["language"] == "powershell"
