"""`halo-forge runs samples`, `report` and `compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from halo_forge.cli import main
from halo_forge.config.view import PAGE_SIZE
from tests.fakes import make_prompt, make_verdict
from tests.run_directory import make_run

NASTY = "\x1b[31m\x9b\u202e"
PROMPTS = [make_prompt(f"p{i}", f"Task {i} {NASTY}") for i in range(8)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two cycles, and answers to held-out prompts."""
    monkeypatch.chdir(tmp_path)
    cycles = {
        cycle: [
            make_verdict(prompt, i, float((number + i) % 3 < cycle), f"```\nx = {i}\n```\n{NASTY}")
            for number, prompt in enumerate(PROMPTS)
            for i in range(2)
        ]
        for cycle in (1, 2)
    }
    return make_run(Path("run"), cycles, {0: [make_verdict("h", 0, 1.0)]})


def test_pages(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page, then how to go on; past the end it is said."""
    assert main(["runs", "samples", "run"]) == 0
    first = capsys.readouterr().out
    assert f"1 to {PAGE_SIZE} of 32; --offset {PAGE_SIZE} goes on." in first
    assert main(["runs", "samples", "run", "--limit", "5", "--offset", "30"]) == 0
    last = capsys.readouterr().out
    assert "31 to 32 of 32." in last
    assert main(["runs", "samples", "run", "--offset", "99"]) == 0
    assert "There are 32 such answers" in capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in first + last)


def test_filters_and_json_lines(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, in ASCII, with the code beside the answer."""
    filters = ["--cycle", "2", "--prompt", "task 3", "--verdict", "pass", "--text", "X = 1"]
    assert main(["runs", "samples", "run", *filters, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    (document,) = map(json.loads, out.splitlines())
    assert (document["id"], document["cycle"], document["code"]) == ("p3#1", 2, "x = 1\n")
    assert document["completion"].endswith(NASTY)


def test_nothing_found(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The cycles there are are named; for programs there is no line."""
    assert main(["runs", "samples", "run", "--error", "syntax"]) == 0
    assert "No such answers. Cycles with judged answers: 1, 2." in capsys.readouterr().out
    assert main(["runs", "samples", "run", "--cycle", "9", "--json"]) == 0
    assert capsys.readouterr().out == ""


def test_raw_and_held_out(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole answer on request; held-out answers by their flag."""
    assert main(["runs", "samples", "run", "--held-out", "--raw"]) == 0
    out = capsys.readouterr().out
    assert "h#0  held-out, before  passes" in out
    assert "answer 0" in out


def test_solved(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prompts solved for the first time and lost, by cycle."""
    assert main(["runs", "samples", "run", "--solved", "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["cycle"], first["asked"], first["solved"]) == (1, 8, 5)
    assert second["first"] == ["p1", "p4", "p7"]
    assert main(["runs", "samples", "run", "--solved", "--prompt", "p1"]) == 0
    assert "1: p1" in capsys.readouterr().out
    assert main(["runs", "samples", "run", "--solved", "--cycle", "2"]) == 2
    assert "--prompt only" in capsys.readouterr().err


def test_report(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Into the run directory, or where it is told to; a folder is refused."""
    assert main(["runs", "report", "run"]) == 0
    assert capsys.readouterr().out == "run/report.html\n"
    assert main(["runs", "report", "run", "-o", "new/r.html", "--samples", "1"]) == 0
    html = Path("new/r.html").read_text("utf-8")
    assert html.startswith("<!DOCTYPE html>")
    assert html.count("<summary><b>") == 2
    assert Path("run/report.html").read_text("utf-8").count("<summary><b>") > 2
    assert main(["runs", "report", "run", "-o", "new"]) == 2
    assert "name a file, such as new/report.html" in capsys.readouterr().err


def test_a_report_beside_a_run_changes_nothing(run: Path) -> None:
    """The same page again, and the run is found as before."""
    assert main(["runs", "report", "run"]) == 0
    before = Path("run/report.html").read_bytes()
    assert main(["runs", "report", "run"]) == 0
    assert Path("run/report.html").read_bytes() == before


def test_compare(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Side by side, with the settings that differ."""
    make_run(Path("other"), {1: [make_verdict("p", 0, 1.0)]}, seed=7)
    assert main(["runs", "compare", "run", "other"]) == 0
    out = capsys.readouterr().out
    assert "Pass rate of training answers" in out
    assert out.splitlines()[-1].split() == ["seed", "0", "7"]
    assert main(["runs", "compare", "run", "other", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["settings"] == {"seed": [0, 7]}
    assert [len(one["cycles"]) for one in document["runs"]] == [3, 1]
    assert main(["runs", "compare", "run", "run"]) == 0
    assert "All settings are the same." in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["samples", "."], ["report", "."], ["compare", "run", "."]])
def test_what_is_no_run(
    run: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is no run is the user's mistake."""
    assert main(["runs", *arguments]) == 2
    assert "not a run directory" in capsys.readouterr().err


def test_one_run_is_no_comparison(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said what is missing."""
    assert main(["runs", "compare", "run"]) == 2
    assert "needs two runs or more" in capsys.readouterr().err
