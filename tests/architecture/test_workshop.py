"""The Makefile's scripts: what they refuse, and that no index can replace a torch that is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OLD = "#!/bin/sh\n[ \"$1\" = -V ] && echo 'Python 3.9.2' && exit 0\nexit 1\n"


def _sh(root: Path, script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", f"tools/{script}", *map(str, arguments)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


def _program(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("torch", "python", "said"),
    [
        ("pinned", "no-such-python", "No Python found as 'no-such-python'"),
        ("pinned", "old", "needs Python 3.11 or newer, and '{python}' is Python 3.9.2"),
        ("cuda", sys.executable, "it can be 'pinned'"),
    ],
)
def test_refusal_says_what_to_do(
    torch: str, python: str, said: str, root: Path, tmp_path: Path
) -> None:
    """Nothing is made with a Python or a torch that cannot work; one line says why."""
    if python == "old":
        python = str(_program(tmp_path / "old python", OLD))
    done = _sh(root, "venv.sh", torch, python, tmp_path / "venv")
    assert done.returncode == 1
    assert said.format(python=python) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "venv").exists()


def test_system_torch_is_required_to_exist(root: Path, tmp_path: Path) -> None:
    """TORCH=system with a Python that has no torch stops before anything is made."""
    bare = _program(tmp_path / "bare", f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    done = _sh(root, "venv.sh", "system", bare, tmp_path / "venv")
    assert done.returncode == 1
    assert "has no torch" in done.stderr


def test_system_torch_is_pinned_to_itself(root: Path, tmp_path: Path) -> None:
    """The constraint names the very build that is there; every other line stays."""
    python = _program(tmp_path / "python", "#!/bin/sh\necho 2.9.1+rocm7.1\n")
    pinned = _sh(root, "constraints.sh", "pinned", python).stdout.splitlines()
    system = _sh(root, "constraints.sh", "system", python).stdout.splitlines()
    assert pinned == (root / "constraints.txt").read_text("utf-8").splitlines()
    changed = [(a, b) for a, b in zip(pinned, system, strict=True) if a != b]
    assert [b for _, b in changed] == ["torch==2.9.1+rocm7.1"]
    assert changed[0][0].startswith("torch==")
