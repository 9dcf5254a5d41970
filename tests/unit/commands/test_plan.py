"""`halo-forge plan`: the forecast as tables and as a document, and its exit code."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from halo_forge.cli import main
from halo_forge.commands import plan, raft
from halo_forge.config.raft import RaftConfig


@dataclass
class Stage:
    """A stage of a forecast."""

    name: str
    times: int
    memory: dict[str, int] = field(default_factory=dict)
    seconds: tuple[float, float] | None = None
    least: float = 0.0
    limit: str = ""
    note: str = ""


@dataclass
class Forecast:
    """A forecast with round figures."""

    stages: tuple[Stage, ...]
    problems: tuple[str, ...] = ()
    peak: int = 3 << 30
    free: int = 20 << 30
    disk_free: int = 70 << 30
    disk: dict[str, int] = field(default_factory=lambda: {"journals": 3 << 20})
    seconds: tuple[float, float] | None = (70.0, 200.0)
    assumptions: tuple[str, ...] = ("answers of any length",)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The survey replaced by a stand-in: what it is asked, and what it is to find."""
    seen: list[Any] = []
    stages = (
        Stage("start", 1, seconds=(10.0, 10.0)),
        Stage("rollout", 2, {"weights": 1 << 30}, (30.0, 95.0), 30.0, "matrix products", "32 rows"),
    )

    def survey(config: RaftConfig, like: Path | None, observer: Any, importing: float) -> Forecast:
        assert importing >= 0
        seen.append((config, like))
        problems = ("disk: 9 wanted, 8 free. Free some.",) if config.seed == 1 else ()
        return Forecast(stages, problems)

    module = ModuleType("halo_forge.rlvr.survey")
    module.survey = survey  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return seen


def test_tables_and_words(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Every stage with its time, its memory, what decides, and what was assumed."""
    assert main(["plan", "--cycles", "2", "--like", "runs/x", "-q"]) == 0
    ((config, like),) = asked
    assert (config.raft.num_cycles, like) == (2, Path("runs/x"))
    out = capsys.readouterr().out
    assert "rollout    2      00:30 to 01:35  00:30      matrix products  32 rows" in out
    assert "weights" in out
    assert "Memory: 3.00 GiB at most; the run may take 20.00 GiB." in out
    assert "Time: 01:10 to 03:20." in out
    assert "Assumed: answers of any length." in out


def test_as_json(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """One document of bytes and seconds."""
    assert main(["plan", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["fits"] is True
    assert document["seconds"] == {"low": 70.0, "high": 200.0}
    assert document["stages"][1]["memory"] == {"weights": 1 << 30}
    assert document["disk"]["total"] == 3 << 20


def test_what_does_not_fit_ends_with_1(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan is shown all the same, then what to change."""
    assert main(["plan", "--seed", "1", "--json"]) == 1
    seen = capsys.readouterr()
    assert json.loads(seen.out)["fits"] is False
    assert "it does not fit:" in seen.err
    assert "disk: 9 wanted, 8 free. Free some." in seen.err


def test_bad_settings_end_with_2(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is measured."""
    assert main(["plan", "--cycles", "-1"]) == 2
    assert asked == []


def test_a_plan_takes_the_settings_of_a_run() -> None:
    """Each flag of a setting is a flag of both commands."""
    context = click.Context(raft.command)
    train = raft.command.get_command(context, "train")
    assert train is not None
    named = {one.name for one in train.params} - {"fork", "dry_run", "progress"}
    assert named == {one.name for one in plan.command.params} - {"like"}
