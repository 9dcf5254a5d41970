"""Trackers write what a step measured, whole, and go on where they were."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from halo_forge.core.errors import UserError
from halo_forge.tracking.base import Tracker
from halo_forge.tracking.jsonl import JsonlTracker
from halo_forge.tracking.services import TrackioTracker, WandbTracker
from halo_forge.tracking.tensorboard import TensorBoardTracker


def _records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_jsonl_is_on_disk_at_once(tmp_path: Path) -> None:
    """A step is one whole line, there before the tracker is closed."""
    path = tmp_path / "new" / "metrics.jsonl"
    tracker: Tracker = JsonlTracker(path)

    tracker.log(1, {"reward": 0.5, "entropy": math.nan})

    (record,) = _records(path)
    assert record.pop("time")
    assert record == {"step": 1, "reward": 0.5, "entropy": None}
    tracker.close()


def test_jsonl_goes_on_after_a_kill(tmp_path: Path) -> None:
    """A torn last line is cut off, whole ones stay."""
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 0}\n{"step": 1, "rew')

    tracker = JsonlTracker(path)
    tracker.log(1, {})
    tracker.close()

    assert [record["step"] for record in _records(path)] == [0, 1]


def test_tensorboard_writes_events(tmp_path: Path) -> None:
    """An event file holds the scalars."""
    tracker: Tracker = TensorBoardTracker(tmp_path / "tensorboard")
    tracker.log(1, {"reward": 0.5, "eval/pass_rate": 0.25})
    tracker.close()

    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"eval/pass_rate" in events.read_bytes()


def test_tensorboard_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra and the way without."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)

    with pytest.raises(UserError, match=r"halo-forge\[train\].*report_to: \[\]"):
        TensorBoardTracker(tmp_path)


class _Service(ModuleType):
    """What trackio and wandb have in common, writing down what it is told."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.Error = self.TrackioAPIError = type("Error", (Exception,), {})
        self.told: list[object] = []
        self.broken = False

    def init(self, **how: object) -> _Service:
        sys.stdout.write("welcome\n")
        self._do(how)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self._do((step, values))

    def finish(self) -> None:
        self._do("finished")

    def _do(self, what: object) -> None:
        if self.broken:
            raise self.Error("not logged in")
        self.told.append(what)


@pytest.fixture(params=[TrackioTracker, WandbTracker])
def service(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[type[TrackioTracker | WandbTracker], _Service]:
    """A tracker and the module that it speaks to."""
    module = _Service(request.param.MODULE)
    monkeypatch.setitem(sys.modules, request.param.MODULE, module)
    monkeypatch.setitem(sys.modules, request.param.ERROR[0], module)
    return request.param, module


def test_services_are_told_figures(service, tmp_path, capsys) -> None:
    """The run's name, each step's numbers, the end; nothing on stdout."""
    kind, module = service
    tracker: Tracker = kind(tmp_path / "mine" / kind.MODULE)
    tracker.log(1, {"reward": 0.5, "entropy": math.nan})
    tracker.close()
    how, *rest = module.told
    assert how["name"].startswith("mine")
    assert (how["project"], how["resume"]) == ("halo-forge", "allow")
    assert rest == [(1, {"reward": 0.5}), "finished"]
    assert capsys.readouterr() == ("", "welcome\n")


def test_runs_of_one_name_are_told_apart(service, tmp_path) -> None:
    """In two folders, or in one that was made anew; an attempt that goes on stays the same run."""
    kind, module = service

    def called(folder: str) -> object:
        place = tmp_path / folder / "verified" / kind.MODULE
        kind(place).close()
        how = [one for one in module.told if isinstance(one, dict)][-1]
        return how.get("id", how["name"])

    first = called("seed_1")
    assert called("seed_1") == first
    assert called("seed_2") != first
    shutil.rmtree(tmp_path / "seed_1")
    assert called("seed_1") != first


def test_services_never_stop_a_run(service, tmp_path, caplog) -> None:
    """At the start trouble is the user's to mend; later it is logged."""
    kind, module = service
    tracker = kind(tmp_path / "mine" / kind.MODULE)
    module.broken = True
    tracker.log(1, {"reward": 0.5})
    tracker.close()
    assert caplog.text.count("not logged in") == 2
    with pytest.raises(UserError, match=r"not logged in.*take .* out of report_to"):
        kind(tmp_path / "other" / kind.MODULE)


@pytest.mark.parametrize("kind", [TrackioTracker, WandbTracker])
def test_services_that_are_not_installed(kind, tmp_path, monkeypatch) -> None:
    """The message names the extra."""
    monkeypatch.setitem(sys.modules, kind.MODULE, None)
    with pytest.raises(UserError, match=rf"halo-forge\[{kind.MODULE}\]"):
        kind(tmp_path / "mine")
