"""`halo-forge runs`: what there is, what is done and what is owed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from halo_forge.cli import main

RATE = {"mean": 0.3, "low": 0.2, "high": 0.4, "units": 40}
HELDOUT = {"samples": 160, "compile_rate": RATE, "pass_rate": RATE}
CYCLES = [
    {"cycle": 0, "heldout": HELDOUT},
    {"cycle": 1, "total_samples": 320, "kept": 40, "heldout": HELDOUT, "training_seconds": 7.0},
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of one cycle out of three in ./models."""
    monkeypatch.chdir(tmp_path)
    path = Path("models/raft")
    (path / "cycle_1_final").mkdir(parents=True)
    (path / "cycle_1_final" / "adapter_config.json").touch()
    (path / "run.json").write_text('{"guarded": {"seed": 1}}', "utf-8")
    (path / "config.yaml").write_text(
        "model: {name: m}\nverifier: {type: gcc}\nraft: {num_cycles: 3}\n", "utf-8"
    )
    (path / "raft_statistics.json").write_text(json.dumps(CYCLES), "utf-8")
    return path


def test_list(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The usual places are searched; a row tells model, verifier, cycles and rates."""
    assert main(["runs", "list"]) == 0

    _, row = capsys.readouterr().out.splitlines()
    assert row.split()[:4] == ["models/raft", "m", "gcc", "1/3"]
    assert row.count("30.0% [20.0, 40.0]") == 2


def test_list_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One document for programs."""
    assert main(["runs", "list", "models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "run": "models/raft",
            "model": "m",
            "verifier": "gcc",
            "control": None,
            "best_cycle": None,
            "ended_early": None,
            "cycles_done": 1,
            "cycles_owed": 2,
        }
    ]


def test_damaged_run_does_not_hide_the_others(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named on stderr, the rest is listed."""
    other = Path("models/broken")
    other.mkdir()
    (other / "run.json").write_text("{", "utf-8")

    assert main(["runs", "list"]) == 0

    captured = capsys.readouterr()
    assert "models/broken/run.json: damaged" in captured.err
    assert "models/raft" in captured.out


def test_no_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it looked is said; for programs the list is empty."""
    monkeypatch.chdir(tmp_path)

    assert main(["runs", "list"]) == 0
    assert capsys.readouterr().out == "No runs in models, runs.\n"
    assert main(["runs", "list", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_show(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row a cycle, before and after, and what is owed."""
    assert main(["runs", "show", str(run)]) == 0

    out = capsys.readouterr().out
    assert "after cycle 1" in out
    assert "Done: 1 of 3 cycles; owed: 2." in out
    assert "The command that started the run goes on with it." in out


def test_show_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The files' own figures, in one document."""
    assert main(["runs", "show", str(run), "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["info"] == {"guarded": {"seed": 1}}
    assert document["cycles"] == CYCLES
    assert document["cycles_owed"] == 2


def test_show_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is no run is the user's mistake."""
    assert main(["runs", "show", str(tmp_path)]) == 2
    assert "not a run directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("run.json", "[]", "not the record of a run"),
        ("run.json", '{"guarded": 5}', "not the record of a run (no object 'guarded')"),
        ("run.json", '{"guarded": {}, "attempts": 3}', "'attempts' is no list of objects"),
        ("run.json", '{"guarded": {}, "attempts": ["x"]}', "'attempts' is no list of objects"),
        ("config.yaml", "raft: {num_cycles: many}", "raft.num_cycles: a whole number is wanted"),
        ("raft_statistics.json", "{}", "expected a list of cycles"),
        ("raft_statistics.json", "[5]", "record 1: an object is wanted, not a number"),
        ("raft_statistics.json", '[{"kept": 1}]', "record 1: 'cycle' is no whole number"),
        ("raft_statistics.json", '[{"cycle": "1"}]', "record 1: 'cycle' is no whole number"),
        ("raft_statistics.json", '[{"cycle": 1, "kept": "x"}]', "damaged (1 validation error"),
        ("raft_statistics.json", '[{"cycle": 1, "heldout": 7}]', "'heldout' is no object"),
        ("raft_statistics.json", '[{"cycle": 1, "heldout": {}}]', "'heldout' is no object"),
    ],
)
def test_damaged_files_are_named(
    run: Path, name: str, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever stands where something else belongs: the file, the place and the kind are said."""
    (run / name).write_text(text, "utf-8")
    commands = [
        ["runs", "show", str(run)],
        ["runs", "report", str(run)],
        ["runs", "compare", str(run), str(run)],
        ["benchmark", "compare", str(run), str(run)],
    ]
    if name == "config.yaml" or "validation" in said:
        del commands[-1]  # it reads neither
    for command in commands:
        assert main(command) == 3, command
        out, err = capsys.readouterr()
        assert f"{run / name}: " in err
        assert said in err
        assert "Traceback" not in out + err
