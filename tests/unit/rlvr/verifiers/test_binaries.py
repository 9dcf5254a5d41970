"""Programs kept for people: named by what made them, whole, and never more than bytes."""

from __future__ import annotations

import stat

import pytest

from halo_forge.config.sections import VerifierSettings
from halo_forge.core.errors import VerifierFault
from halo_forge.rlvr.judges import make_verifier
from halo_forge.rlvr.verifiers import AutoVerifier, GCCVerifier
from halo_forge.rlvr.verifiers.binaries import BinaryFolder
from halo_forge.rlvr.verifiers.toolchains import TOOLCHAINS
from halo_forge.rlvr.verifiers.workbench import Tool
from halo_forge.sandbox import Job, Limits, Step
from halo_forge.sandbox.conformance import python_step

pytestmark = [pytest.mark.toolchain("g++"), pytest.mark.toolchain("gcc")]

CODE = '#include <cstdio>\nint main() { std::puts("42"); }'
LOOP = "#include <cstdio>\nint main() { for (volatile int i = 0;; i = i + 1) std::fflush(stdout); }"


def test_programs_are_kept_and_named(sandbox, tmp_path) -> None:
    """Each distinct program once, not executable, with the verdict it gets anyway."""
    folder = tmp_path / "deep" / "er"
    with GCCVerifier(expected_output="42", run_timeout=0.5, sandbox=sandbox) as plain:
        bare = [plain.verify(code) for code in (CODE, CODE.replace("42", "41"), LOOP, "int x")]
    with GCCVerifier(
        expected_output="42", run_timeout=0.5, sandbox=sandbox, binary_cache_dir=str(folder)
    ) as verifier:
        kept = [verifier.verify(code) for code in (CODE, CODE.replace("42", "41"), LOOP, "int x")]
        assert verifier.verify(f"Again.\n```cpp\n{CODE}\n```").reward == 1.0
    assert [(one.reward, one.details) for one in kept] == [(o.reward, o.details) for o in bare]
    names = {one.metadata["binary"] for one in kept[:3]}
    assert {path.name for path in folder.iterdir()} == names
    assert len(names) == 3
    assert "binary" not in kept[3].metadata
    for path in folder.iterdir():
        assert path.read_bytes().startswith(b"\x7fELF")
        assert stat.S_IMODE(path.stat().st_mode) & 0o111 == 0
    with GCCVerifier(flags=["-O2"], sandbox=sandbox, binary_cache_dir=str(folder)) as other:
        assert other.verify(CODE).metadata["binary"] not in names


@pytest.mark.parametrize(
    "trap",
    [
        "os.symlink('/etc/passwd', 'program')",
        "os.symlink('/usr/bin/true', 'program')",
        "os.mkfifo('program')",
        "os.mkdir('program')",
        "open('program', 'wb').truncate(80 << 20)",
        "None",
    ],
)
def test_what_is_no_program_is_not_kept(trap, sandbox, tmp_path) -> None:
    """A link, a fifo, a directory, too much, or nothing: no file, and nobody waits."""
    folder = BinaryFolder(tmp_path / "kept")
    tool = Tool(TOOLCHAINS["g++"], "/usr/bin/g++", None, "12", ())
    big = Limits(file_size=100 << 20, disk=100 << 20)
    build = Step(python_step().argv, limits=big)
    files = {"main.py": f"import os; {trap}".encode()}
    result = sandbox.run(Job(files, build, (folder.step(tool),)))
    assert result.build.ok
    assert not folder.keep("x", result.runs[0])
    assert not (tmp_path / "kept").exists()


def test_a_folder_that_cannot_be_written_is_a_fault(sandbox, tmp_path) -> None:
    """It is our trouble, and no verdict."""
    (tmp_path / "file").touch()
    verifier = GCCVerifier(sandbox=sandbox, binary_cache_dir=str(tmp_path / "file" / "in"))
    with pytest.raises(VerifierFault, match="cannot keep a program in"):
        verifier.verify(CODE)


def test_it_is_a_setting_of_every_compiler(sandbox, tmp_path) -> None:
    """From a configuration, and through the verifier of all languages, where programs are made."""
    options = {"binary_cache_dir": str(tmp_path), "sandbox": sandbox}
    settings = VerifierSettings(type="auto", options=options, run_after_compile=False)
    verifier = make_verifier(settings)
    assert isinstance(verifier, AutoVerifier)
    assert verifier.verify(f"```cpp\n{CODE}\n```").metadata["binary"] in {
        path.name for path in tmp_path.iterdir()
    }
    assert "binary" not in verifier.verify("```python\nprint(1)\n```").metadata
