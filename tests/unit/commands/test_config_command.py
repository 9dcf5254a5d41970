"""`halo-forge config`: valid or every problem, and where each value comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from halo_forge.cli import main


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small RAFT configuration."""
    path = tmp_path / "raft.yaml"
    path.write_text("num_cycles: 5\ntraining:\n  learning_rate: 5e-5\n", "utf-8")
    return path


def test_valid_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what kind it is and how much it sets."""
    assert main(["config", "validate", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: valid raft configuration, 2 settings given\n"


def test_valid_file_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` gives one document."""
    assert main(["config", "validate", str(file), "--json", "--type", "raft"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(file),
        "type": "raft",
        "valid": True,
        "given": 2,
    }


def test_invalid_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every problem is on stderr with its line, those of the YAML itself too."""
    file.write_text("num_cycles: -1\nraft: {x: 1}\nraft: {}\n", "utf-8")

    assert main(["config", "validate", str(file)]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    first, second, third = captured.err.splitlines()
    assert first == f"halo-forge: {file}:3: key 'raft' is given twice, first on line 2"
    assert second == f"halo-forge: {file}:1: num_cycles: must be at least 0, got -1"
    assert third.startswith(f"halo-forge: {file}:2: raft.x: unknown key; raft has ")
    assert "num_cycles" in third


def test_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file is named, whatever the type."""
    assert main(["config", "validate", "no.yaml"]) == 2
    assert capsys.readouterr().err == "halo-forge: no.yaml: No such file or directory\n"


def test_ambiguous_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that could be of several kinds is asked about, and taken as told."""
    file.write_text("model: {name: x}\n", "utf-8")

    assert main(["config", "validate", str(file), "--type", "auto"]) == 2
    assert "--type raft or --type sft or --type benchmark" in capsys.readouterr().err
    assert main(["config", "validate", str(file), "--type", "benchmark"]) == 0


def test_show_names_the_sources(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each setting has its value and the default, line or flag it comes from."""
    assert main(["config", "show", str(file), "--set", "seed=3"]) == 0

    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["raft.num_cycles"] == ["5", f"{file}:1"]
    assert rows["training.learning_rate"] == ["5e-05", f"{file}:3"]
    assert rows["training.epochs"] == ["1", "default"]
    assert rows["seed"] == ["3", "--set", "seed"]


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file the defaults are shown; `--json` nests them as a file would."""
    assert main(["config", "show", "--json", "--type", "benchmark"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["type"] == "benchmark"
    assert document["config"]["k"] == [1, 5, 10]
    assert set(document["sources"].values()) == {"default"}
