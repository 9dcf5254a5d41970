"""A run directory belongs to one run, and to one process at a time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.core.errors import StoreFault, UserError
from halo_forge.store import run_dir
from halo_forge.store.run_dir import RunDir, difference
from tests.fakes import tree

_GUARDED = {"seed": 0, "raft.keep": 0.5, "lora.modules": ["q", "v"], "prompts.content": "abc"}

# Takes the directory, says so, and keeps it until its input ends; exits 2 when it is refused.
_HOLDER = """
import sys
from pathlib import Path
from halo_forge.core.errors import UserError
from halo_forge.store import run_dir
from halo_forge.store.run_dir import RunDir

try:
    with RunDir(Path(sys.argv[1])).lock():
        print("held", flush=True)
        sys.stdin.read()
except UserError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""

_keys = st.sampled_from(["a", "b.c", "b.d", "e"])
_values = st.integers(0, 2) | st.sampled_from(["x", "y"]) | st.lists(st.integers(0, 1), max_size=2)
_settings = st.dictionaries(_keys, _values)


def _holder(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _interrupted_while_holding(run: RunDir) -> None:
    with run.lock():
        raise KeyboardInterrupt


def _first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def test_claimed_twice_with_equal_settings(tmp_path: Path) -> None:
    """The same settings go on in the directory, and each attempt notes its machine."""
    run = RunDir(tmp_path / "run")
    assert run.read_info() is None
    run.claim(_GUARDED, {"machine": "a"}, "seed: 0\n")
    run.claim({**_GUARDED, "lora.modules": ("q", "v")}, {"machine": "b"}, "seed: 0 # again\n")
    info = run.read_info()
    assert info == {"guarded": _GUARDED, "attempts": [{"machine": "a"}, {"machine": "b"}]}
    assert run.config_path.read_text() == "seed: 0 # again\n"


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    """Every key that differs is named with both values, the ways out too; nothing changes."""
    run = RunDir(tmp_path)
    run.claim(_GUARDED, {}, "old\n")
    before = tree(tmp_path)
    with pytest.raises(UserError, match="made with other settings") as caught:
        run.claim({**_GUARDED, "seed": 1, "prompts.content": "xyz", "new": True}, {}, "new\n")
    said = str(caught.value)
    assert "  seed: 0 then, 1 now\n" in said
    assert "  prompts.content: 'abc' then, 'xyz' now\n" in said
    assert "  new: None then, True now\n" in said
    assert "raft.keep" not in said
    assert "--fork DIR" in said
    assert tree(tmp_path) == before


def test_long_differences_are_cut(tmp_path: Path) -> None:
    """Of many differing keys the first are shown and the rest is counted."""
    run = RunDir(tmp_path)
    run.claim({f"k{n:02}": 0 for n in range(20)}, {}, "")
    with pytest.raises(UserError, match=r"k11: 0 then, 1 now\n  \.\.\. and 8 more\n"):
        run.claim({f"k{n:02}": 1 for n in range(20)}, {}, "")


@settings(max_examples=60, deadline=None)
@given(_settings, _settings)
def test_difference_names_exactly_what_differs(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Keys are sorted, none is missing, none is there without need; none for equal settings."""
    expected = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    assert [key for key, _, _ in difference(old, new)] == expected
    assert all((old.get(k), new.get(k)) == (was, now) for k, was, now in difference(old, new))
    assert difference(old, old) == []


@pytest.mark.parametrize("content", ["", "{", '{"guarded": ', "[]", '{"attempts": []}', "7"])
def test_damaged_run_json_is_said(tmp_path: Path, content: str) -> None:
    """A record of the run that cannot be read stops with its path, before anything is written."""
    run = RunDir(tmp_path)
    run.run_json.write_text(content)
    before = tree(tmp_path)
    for attempt in (run.read_info, lambda: run.claim(_GUARDED, {}, "")):
        with pytest.raises(StoreFault, match=r"damaged|not the record of a run") as caught:
            attempt()
        assert str(caught.value).startswith(f"{run.run_json}: ")
    assert tree(tmp_path) == before


def test_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    """Another process is told that the directory is taken, and how to go on; later it is free."""
    run = RunDir(tmp_path / "run")
    with run.lock(), _holder(run.path) as refused:
        said = _first_line(refused)
        assert refused.wait() == 2
    assert "another halo-forge process works in this run directory" in said
    assert str(run.path) in said
    assert "--output" in said

    with _holder(run.path) as holder:
        assert _first_line(holder) == "held\n"
        with pytest.raises(UserError, match="another halo-forge process"), run.lock():
            pytest.fail("two processes hold one run directory")
        holder.send_signal(signal.SIGKILL)
    with run.lock():
        assert (run.path / ".lock").exists()


def test_lock_ends_with_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving the block, in peace or by an error, frees the directory, and not the collector."""
    kept: list[FileLock] = []

    def keeping(path: Path) -> FileLock:
        kept.append(FileLock(path))
        return kept[-1]

    monkeypatch.setattr(run_dir, "FileLock", keeping)
    run = RunDir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        _interrupted_while_holding(run)
    with run.lock(), pytest.raises(UserError, match="another halo-forge process"), run.lock():
        pytest.fail("the directory was taken twice")
    assert not any(lock.is_locked for lock in kept)
    with _holder(tmp_path) as holder:
        assert _first_line(holder) == "held\n"
        holder.kill()


def test_statistics_merge(tmp_path: Path) -> None:
    """A cycle's record grows field by field, records stay in order, others are untouched."""
    run = RunDir(tmp_path)
    assert run.read_statistics() == []
    run.update_statistics(2, {"kept": 5, "faults": 1})
    run.update_statistics(0, {"heldout": {"samples": 4}})
    run.update_statistics(2, {"loss": 0.5, "kept": 6})
    assert run.read_statistics() == [
        {"cycle": 0, "heldout": {"samples": 4}},
        {"cycle": 2, "kept": 6, "faults": 1, "loss": 0.5},
    ]
    assert json.loads(run.statistics_path.read_text()) == run.read_statistics()


@pytest.mark.parametrize("content", ["", "[{]", '{"cycle": 1}', '"x"'])
def test_damaged_statistics_are_said(tmp_path: Path, content: str) -> None:
    """Statistics that cannot be read are never overwritten."""
    run = RunDir(tmp_path)
    run.statistics_path.write_text(content)
    with pytest.raises(StoreFault, match=r"raft_statistics\.json: "):
        run.update_statistics(1, {"kept": 5})
    assert run.statistics_path.read_text() == content


def test_unreadable_statistics_are_said(tmp_path: Path) -> None:
    """What the system refuses to read is said with the file's name."""
    run = RunDir(tmp_path)
    run.statistics_path.mkdir()
    with pytest.raises(StoreFault, match=r"raft_statistics\.json: cannot be read \(Is a dir"):
        run.read_statistics()


def test_every_attempt_has_its_log_folder(tmp_path: Path) -> None:
    """Log folders are counted on, also when an old one was deleted."""
    run = RunDir(tmp_path)
    assert [run.new_log_dir().name for _ in range(3)] == ["attempt_1", "attempt_2", "attempt_3"]
    (run.logs_path / "attempt_1").rmdir()
    (run.logs_path / "attempt_old").mkdir()
    assert run.new_log_dir().name == "attempt_4"


def test_file_names_of_the_contract(tmp_path: Path) -> None:
    """The names that people and other tools rely on."""
    run = RunDir(tmp_path)
    paths = [
        run.config_path,
        run.run_json,
        run.prompts_path,
        run.samples_path(2),
        run.verified_path(2),
        run.checkpoint_path(2),
        run.eval_path(0),
        run.statistics_path,
        run.metrics_path,
        run.tensorboard_path,
        run.logs_path,
    ]
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        "config.yaml",
        "run.json",
        "prompts.jsonl",
        "cycle_2_samples.jsonl",
        "cycle_2_verified.jsonl",
        "cycle_2_final",
        "cycle_0_eval.jsonl",
        "raft_statistics.json",
        "metrics.jsonl",
        "tensorboard",
        "logs",
    ]


def test_an_empty_folder_is_no_checkpoint(tmp_path: Path) -> None:
    """Cycles are complete up to the first whose checkpoint is missing or empty."""
    run = RunDir(tmp_path)
    for cycle in (1, 2, 4):
        run.checkpoint_path(cycle).mkdir()
    assert run.last_complete == 0
    for cycle in (1, 2, 4):
        (run.checkpoint_path(cycle) / "adapter_config.json").touch()
    assert run.last_complete == 2
    assert not run.is_complete(3)
