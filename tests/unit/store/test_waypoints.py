"""States to go on from: complete or absent, and no more of them than are needed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from halo_forge.store import waypoints as module
from halo_forge.store.waypoints import Waypoints


def put(states: Waypoints, step: int, keep: set[int]) -> None:
    """Write a state."""
    (states.begin(step) / "weights").write_text(str(step))
    states.publish(step, keep)


def test_the_latest_and_the_kept(tmp_path: Path) -> None:
    """A new state replaces all others but those to keep."""
    states = Waypoints(tmp_path / "states")
    assert states.last is None
    for step, keep in ((3, set()), (7, {3}), (12, {3}), (12, {3})):
        put(states, step, keep)
    assert states.steps() == [3, 12]
    assert states.last == states.at(12)
    assert (states.at(12) / "weights").read_text() == "12"
    states.clear()
    states.clear()
    assert not states.path.exists()


def test_a_kill_while_writing(tmp_path: Path) -> None:
    """What was begun and not published is no state, and the next one clears it away."""
    states = Waypoints(tmp_path)
    put(states, 3, set())
    (states.begin(7) / "weights").write_text("half")
    assert states.steps() == [3]
    put(states, 9, set())
    assert [path.name for path in tmp_path.iterdir()] == ["step_9"]


def test_a_kill_while_deleting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state of which a part is gone is not taken for one."""
    states = Waypoints(tmp_path)
    put(states, 3, set())

    def die(path: Path) -> None:
        (path / "weights").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(module.shutil, "rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        put(states, 7, set())
    monkeypatch.setattr(module.shutil, "rmtree", shutil.rmtree)
    assert Waypoints(tmp_path).steps() == [7]
