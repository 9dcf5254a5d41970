"""The examples without training run as they stand, and show what they say they show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from halo_forge.cli import main


def _run(script: Path) -> str:
    """Run an example with this interpreter's commands and return what it prints."""
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", script], env=os.environ | {"PATH": here}, check=False, capture_output=True
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said[-2000:] + done.stderr.decode()[-2000:]
    return said


def _rewards(said: str, start: str) -> list[str]:
    """Return the column of rewards of the table below a title that begins so."""
    table = said.split(f"== {start}")[1].split("\n== ")[0]
    return [line.split()[1] for line in table.splitlines() if "#" in line.split(" ")[0]]


@pytest.mark.toolchain("g++")
def test_compile_verified(root: Path) -> None:
    """A right answer gets 0.7, a crash 0.5, and neither an empty program nor prose anything."""
    said = _run(root / "examples/compile_verified/run.sh")
    assert _rewards(said, "Compiling") == ["0.7", "0", "0.5", "0", "0"]
    assert "the program does nothing" in said


def test_words(root: Path, monkeypatch, capsys) -> None:
    """The run that the pictures show can be made: its settings and its tasks are here."""
    monkeypatch.chdir(root)
    assert main(["raft", "train", "-c", "examples/words/words.yaml", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["prompts"], plan["heldout_prompts"]) == (12, 10)


def test_test_verified(root: Path) -> None:
    """Cheats get nothing, the hidden test tells the guess from the rule, and the audit says so."""
    said = _run(root / "examples/test_verified/run.sh")
    assert _rewards(said, "By the tests") == ["1", "1", "0", "0", "0"]
    assert said.count('"hidden_passed":2') == 1
    assert "is_leap: weak" in said


def test_custom_verifier(root: Path) -> None:
    """The verifier beside the script passes the checks, and is found by its name."""
    said = _run(root / "examples/custom_verifier/run.sh")
    assert _rewards(said, "It judges") == ["1", "0.333333", "0", "0"]
