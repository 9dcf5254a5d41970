"""Attacks that are the verifiers' business, language by language: hollow programs, host files."""

from __future__ import annotations

import pytest

from halo_forge.core import registry
from halo_forge.rlvr.verifiers import AutoVerifier, GoVerifier, PowerShellVerifier, RustVerifier

NOTHING = ["", " \n\t", "```\n```", "```cpp\n```", "I am sorry, I cannot do this."]
HOLLOW = {
    "c": ["int main(void) { return 0; }", "// only\n/* comments */"],
    "cpp": ["int main() {}", "int main() { return 0; }", "#include <vector>\n// nothing"],
    "rust": ["fn main() {}", "// nothing\nfn main() { () }"],
    "go": ["package main\n\nfunc main() {}", "package main\n// nothing\nfunc main() { return }"],
    "csharp": ["class P { static void Main() { } }", "// nothing"],
    "python": ["pass", "# nothing", "x = 1", "def f():\n    return 1"],
    "powershell": ["# nothing", "<# nothing #>"],
}


@pytest.fixture
def built(sandbox, monkeypatch) -> list[bytes]:
    """The sources of all jobs that the sandbox ran."""
    sources: list[bytes] = []
    run = type(sandbox).run

    def seen(self, job):
        sources.append(b"".join(job.files.values()))
        return run(self, job)

    monkeypatch.setattr(type(sandbox), "run", seen)
    return sources


@pytest.mark.toolchain("g++")
@pytest.mark.parametrize("language", HOLLOW)
def test_hollow_programs_earn_nothing_and_are_not_built(
    language: str, sandbox, make_sample, built
) -> None:
    """Cases 55 and 56: nothing, prose, comments, and programs that do nothing."""
    kind = PowerShellVerifier if language == "powershell" else AutoVerifier
    verifier = kind(sandbox=sandbox)
    for text in [*NOTHING, *(f"```{language}\n{code}\n```" for code in HOLLOW[language])]:
        verdict = verifier.judge(make_sample(text, language=language))
        assert (verdict.success, verdict.reward) == (False, 0.0), text
        assert verdict.metadata["stage"] in {"extract", "substance"}, text
        marker = text.strip("`\n ").encode()
        assert not marker or marker not in built


RUST = [
    'fn main() { print!("{}", include_str!("/etc/shadow")); }',
    'fn main() { println!("{:?}", include_bytes!("/etc/shadow")); }',
    'fn main() { println!("{}", env!("HALO_FORGE_SECRET")); }',
    "extern crate proc_macro;\n#[proc_macro]\npub fn f(x: proc_macro::TokenStream) "
    '-> proc_macro::TokenStream { x }\nfn main() { println!("1"); }',
    'mod other { include!("/etc/passwd"); }\nfn main() { println!("1"); }',
]


@pytest.mark.toolchain("rustc")
@pytest.mark.parametrize("code", RUST)
def test_rust_reads_nothing_of_the_host(code: str, sandbox, monkeypatch) -> None:
    """Case 71: files and environment of the host do not exist for the compiler; no cargo."""
    monkeypatch.setenv("HALO_FORGE_SECRET", "s3cret")
    verdict = RustVerifier(run_after_compile=True, sandbox=sandbox).verify(f"```rust\n{code}\n```")
    assert verdict.reward == 0.0
    assert "root:" not in str(verdict)
    assert "s3cret" not in str(verdict)


GO = [
    'package main\n\nimport (\n\t_ "embed"\n\t"fmt"\n)\n\n//go:embed /etc/passwd\nvar s string\n\n'
    "func main() { fmt.Print(s) }",
    'package main\n\n// #include <stdlib.h>\nimport "C"\n\nfunc main() { C.exit(0) }',
    'package main\n\n// #cgo LDFLAGS: -fplugin=/tmp/x.so\nimport "C"\nimport "fmt"\n\n'
    "func main() { fmt.Print(1) }",
]


@pytest.mark.toolchain("go")
@pytest.mark.parametrize("code", GO)
def test_go_compiles_go_alone(code: str, sandbox) -> None:
    """Case 72: no embedded files, no C."""
    verdict = GoVerifier(run_after_compile=True, sandbox=sandbox).verify(f"```go\n{code}\n```")
    assert verdict.reward == 0.0
    assert "root:" not in str(verdict)


@pytest.mark.parametrize(
    "code",
    [
        "using module /tmp/evil.psm1\nWrite-Output 1",
        "Add-Type -TypeDefinition 'public class X { }'\nWrite-Output 1",
        "powershell -EncodedCommand SQBFAFgA\nWrite-Output 1",
    ],
)
def test_powershell_is_parsed_and_never_run(code: str, sandbox, built) -> None:
    """Case 73: whatever it would do, the answer is parsed."""
    verifier = PowerShellVerifier(run_after_compile=True, sandbox=sandbox)
    verdict = verifier.verify(f"```powershell\n{code}\n```")
    assert verdict.reward in {0.0, 0.5}
    assert verdict.metadata["stage"] == "compile"


@pytest.mark.toolchain("g++")
def test_file_names_are_ours(sandbox, make_sample, monkeypatch) -> None:
    """Case 74: names in tags, prompts and answers never become names of files or arguments."""
    jobs = []
    run = type(sandbox).run
    monkeypatch.setattr(type(sandbox), "run", lambda self, job: jobs.append(job) or run(self, job))
    evil = "-specs=evil"
    text = (
        f'```cpp title="{evil}" {evil}:@file\n#include <cstdio>\nint main() {{ puts("1"); }}\n```'
    )
    sample = make_sample(text, id=f"../{evil}", language="cpp")
    verdict = registry.load("verifiers", "gcc")(sandbox=sandbox).judge(sample)
    assert verdict.success
    for job in jobs:
        names = [*job.files, *(word for step in job.steps for word in step.argv)]
        assert not any(evil in name or "@file" in name for name in names)
