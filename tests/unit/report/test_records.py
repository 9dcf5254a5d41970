"""Run directories are found and read through a typed door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from halo_forge.core.errors import StoreFault, UserError
from halo_forge.report.records import find_runs, read_run

RATE = {"mean": 0.3, "low": 0.2, "high": 0.4, "units": 40}


def _run(path: Path, statistics: Any = None) -> Path:
    path.mkdir(parents=True)
    (path / "run.json").write_text('{"guarded": {}}', "utf-8")
    (path / "config.yaml").write_text("raft: {num_cycles: 3}\nmodel: {name: m}\n", "utf-8")
    if statistics is not None:
        (path / "raft_statistics.json").write_text(json.dumps(statistics), "utf-8")
    return path


def test_finds_runs_two_levels_deep(tmp_path: Path) -> None:
    """The folder itself and two levels below are searched, deeper ones are not."""
    near, far = _run(tmp_path / "a"), _run(tmp_path / "b" / "c")
    _run(tmp_path / "x" / "y" / "z")

    assert find_runs([tmp_path, tmp_path / "a", tmp_path / "none"]) == [near, far]


def test_reads_what_is_done_and_owed(tmp_path: Path) -> None:
    """The baseline is no cycle, a cycle is done with its checkpoint; unknown keys do no harm."""
    heldout = {"samples": 160, "compile_rate": RATE, "pass_rate": RATE, "new": 1}
    path = _run(
        tmp_path / "a",
        [
            {"cycle": 0, "heldout": heldout},
            {"cycle": 1, "entropy": 2.0, "training_seconds": 1},
            {"cycle": 2},
        ],
    )

    (path / "cycle_1_final").mkdir()
    (path / "cycle_1_final" / "adapter_config.json").touch()

    run = read_run(path)

    assert (run.done, run.planned, run.owed) == (1, 3, 2)
    assert run.config["model.name"] == "m"
    assert [cycle.cycle for cycle in run.measured] == [0]
    assert run.statistics[1]["entropy"] == 2.0


def test_run_that_has_just_begun(tmp_path: Path) -> None:
    """Without statistics nothing is done."""
    assert read_run(_run(tmp_path / "a")).done == 0


def test_no_run(tmp_path: Path) -> None:
    """A folder without run.json is the user's mistake."""
    with pytest.raises(UserError, match="not a run directory"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.json", "{"),
        ("run.json", "[]"),
        ("raft_statistics.json", '{"a": 1}'),
        ("raft_statistics.json", "[{}]"),
        ("raft_statistics.json", "[{"),
        ("config.yaml", "a: [\n"),
    ],
)
def test_damaged_file_is_named(name: str, text: str, tmp_path: Path) -> None:
    """Damage is the store's fault, with the file's name."""
    path = _run(tmp_path / "a", [])
    (path / name).write_text(text, "utf-8")

    with pytest.raises(StoreFault, match=name):
        read_run(path)
