"""Trackers write what a step measured, whole, and go on where they were."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from halo_forge.core.errors import UserError
from halo_forge.tracking.base import Tracker
from halo_forge.tracking.jsonl import JsonlTracker
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
