"""What a run learned, what to doubt, and what must be read first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from halo_forge.cli import main
from halo_forge.models.refs import resolve
from halo_forge.report.lessons import errors_grid, honesty_grid, notices
from halo_forge.report.page import report_html
from halo_forge.report.records import Run, read_run
from tests.fakes import make_verdict
from tests.run_directory import make_run

FAILED = {"stage": "compile", "diagnostic": "undeclared"}
OTHER = {"stage": "compile", "diagnostic": "missing_return"}
GAP = {"mean": 0.2, "low": 0.1, "high": 0.3, "units": 8, "p_value": 0.01}


def _cycle(failed: int) -> list[Any]:
    bad = [make_verdict("a", n, 0.0, metadata=FAILED) for n in range(failed)]
    good = [make_verdict("a", n, 1.0) for n in range(failed, 7)]
    return [*bad, *good, make_verdict("a", 7, 0.0, metadata=OTHER)]


def _note(path: Path, cycle: int, **fields: Any) -> Run:
    file = path / "raft_statistics.json"
    records = json.loads(file.read_text())
    next(record for record in records if record["cycle"] == cycle).update(fields)
    file.write_text(json.dumps(records))
    return read_run(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run of two cycles in which one kind of error becomes rare."""
    return make_run(tmp_path / "run", {1: _cycle(4), 2: _cycle(1)})


def test_failures_by_class(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row a class, a column a cycle, the commonest first."""
    grid = errors_grid(read_run(path).cycles)
    assert grid is not None
    assert grid.header == ("failed with", "1", "2")
    assert grid.rows == (("undeclared", "50.0%", "12.5%"), ("missing return", "12.5%", "12.5%"))
    assert main(["runs", "show", str(path)]) == 0
    assert "undeclared      50.0%  12.5%" in capsys.readouterr().out


def test_held_out_failures_come_first(tmp_path: Path) -> None:
    """Their prompts are the same in every cycle."""
    path = make_run(tmp_path / "run", {1: _cycle(4)}, {0: _cycle(6), 1: _cycle(2)})
    grid = errors_grid(read_run(path).cycles)
    assert grid is not None
    assert grid.rows[0] == ("undeclared", "75.0%", "25.0%")
    assert grid.title.startswith("What went wrong in held-out answers")


def test_no_figures_no_tables() -> None:
    """Old runs and runs that have just begun have neither."""
    assert errors_grid([]) is None
    assert honesty_grid([]) is None


def test_diversity_and_doubts(path: Path) -> None:
    """Every figure in its column, the alarm beside the gap."""
    run = _note(
        path,
        2,
        distinct_share=0.5,
        pass_at_k={"k": 8, "mean": 0.75, "low": 0.6, "high": 0.9, "units": 8},
        solved_first_share=0.25,
        lost_share=0.0,
        hidden_gap=GAP,
        hidden_gap_alarm=True,
        suspicious={"test_specialised": 3, "trivial": 1},
    )
    grid = honesty_grid(run.cycles)
    assert grid is not None
    assert grid.rows[-1][:7] == ("2", "50.0%", "75.0% @8", "25.0%", "0.0%", "20.0!", "3, 1")
    assert not [name for name in grid.header if name.startswith("held-out")]  # nothing known there
    (line,) = notices(run)
    assert line.startswith("HIDDEN-TEST GAP (2):")


def test_learning_to_end_is_told_apart(tmp_path: Path) -> None:
    """Where many held-out answers were cut and fewer are, that is no merit of the verifier."""

    def judged(cut: int) -> list[Any]:
        reasons = ["length"] * cut + ["stop"] * (4 - cut)
        return [make_verdict("a", n, 1.0, finish_reason=why) for n, why in enumerate(reasons)]

    path = make_run(tmp_path / "run", {1: judged(3)}, {0: judged(2), 1: judged(1)})
    grid = honesty_grid(read_run(path).cycles)
    assert grid is not None
    at = grid.header.index("cut"), grid.header.index("held-out cut")
    assert [tuple(row[n] for n in at) for row in grid.rows] == [("-", "50.0%"), ("75.0%", "25.0%")]
    (line,) = notices(read_run(path))
    assert line.startswith("CUT ANSWERS: 50% of the held-out answers were cut by the limit of tok")
    assert "25% after cycle 1" in line
    for name, before, after in (("seldom", 0, 0), ("as often", 2, 2)):
        other = make_run(tmp_path / name, {1: judged(0)}, {0: judged(before), 1: judged(after)})
        assert notices(read_run(other)) == []


def test_a_control_says_so_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the list, above the figures, in the JSON and in the report."""
    path = make_run(tmp_path / "run", {1: _cycle(1)}, raft={"control": "shuffled"})
    run = read_run(path)
    assert run.control == "shuffled"
    assert notices(run)[0].startswith("CONTROL shuffled: not a verified run")
    page = report_html(run, 1)
    assert "CONTROL, not a verified run" in page
    assert "CONTROL shuffled: not a verified run" in page
    assert main(["runs", "show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["control"] == "shuffled"
    assert main(["runs", "list", str(path)]) == 0
    assert "(CONTROL shuffled)" in capsys.readouterr().out


def test_a_verified_run_says_nothing(path: Path) -> None:
    """No notice without a reason."""
    assert read_run(path).control is None
    assert notices(read_run(path)) == []
    assert "CONTROL" not in report_html(read_run(path), 1)


def test_best_cycle_and_early_end(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The best cycle can be named as a model; a run that has ended by a rule owes nothing."""
    _note(path, 1, decision={"action": "continue", "best": 1, "why": "", "fallen": {}})
    run = _note(path, 2, decision={"action": "stop", "best": 1, "why": "it fell", "fallen": {}})
    assert (run.best, run.stopped, run.owed) == (1, "it fell", 0)
    assert resolve(path / "best") == path / "cycle_1_final"
    assert main(["runs", "show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Ended early: it fell.\nBest by the held-out pass rate: cycle 1.\n" in out
    assert "Done: 2 of 3 cycles; owed: 0." in out


def test_a_stop_after_all_cycles_is_no_early_end(tmp_path: Path) -> None:
    """What the last decision says stands there, but nothing was left to be ended."""
    path = make_run(tmp_path / "run", {1: _cycle(4), 2: _cycle(1)}, raft={"num_cycles": 2})
    run = _note(path, 2, decision={"action": "stop", "best": 1, "why": "it fell", "fallen": {}})
    assert run.stopped is None
    assert notices(run) == ["After cycle 2: it fell.", "Best by the held-out pass rate: cycle 1."]


def test_no_cycle_better_than_the_start(tmp_path: Path) -> None:
    """Where all rates are equal the start is the best, and that is not left to be guessed."""
    path = make_run(tmp_path / "run", {1: _cycle(4)}, raft={"num_cycles": 1})
    run = _note(path, 1, decision={"action": "continue", "best": 0, "why": "", "fallen": {}})
    assert notices(run) == ["Best by the held-out pass rate: the start; no cycle is better."]
