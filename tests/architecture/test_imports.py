"""The import contracts hold, and they bite: planted imports break them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# contract, module to plant in, import to plant
PLANTED = [
    ("floors", "halo_forge/core/planted.py", "from halo_forge.store import atomic"),
    ("floors", "halo_forge/new_room/__init__.py", ""),
    ("loop", "halo_forge/rlvr/selection.py", "from halo_forge.rlvr import cycle"),
    ("verifiers", "halo_forge/rlvr/verifiers/planted.py", "from halo_forge.models import builtin"),
    ("light", "halo_forge/utils/planted.py", "def f():\n    import torch"),
    ("bare", "halo_forge/sandbox/planted.py", "from halo_forge.utils import hardware"),
    ("front", "halo_forge/commands/planted.py", "import torch"),
    ("processes", "halo_forge/data/planted.py", "import subprocess"),
]


def _lint(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the package in ``root``, not over the installed one."""
    code = "import sys; from importlinter.cli import lint_imports_command as c; c(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo", *arguments],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A copy of the package and its contracts, to plant in."""
    shutil.copy(root / "pyproject.toml", tmp_path)
    ignored = shutil.ignore_patterns("__pycache__", "*.jsonl")
    shutil.copytree(root / "halo_forge", tmp_path / "halo_forge", ignore=ignored)
    return tmp_path


def test_contracts_are_kept(root: Path) -> None:
    """Every import of the package is one that the contracts allow."""
    done = _lint(root)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("contract", "file", "text"), PLANTED)
def test_planted_import_is_caught(contract: str, file: str, text: str, copy: Path) -> None:
    """The contract that a planted import violates is broken by it, and by nothing before."""
    assert _lint(copy, "--contract", contract).returncode == 0
    (copy / file).parent.mkdir(exist_ok=True)
    (copy / file).write_text(f"{text}\n", encoding="utf-8")
    done = _lint(copy, "--contract", contract)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
