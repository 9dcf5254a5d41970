"""The training of `docs/howto/see.md`, as the page writes it but small: run, killed, told again."""

from __future__ import annotations

import json
import runpy
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from safetensors.torch import load_file

from halo_forge.cli import main
from halo_forge.store.records import read_records
from halo_forge.store.run_dir import RunDir
from tests.needs import package

pytestmark = pytest.mark.timeout(600)

_SMALL = {
    "prepare.py": ["--sft", "480", "--prompts", "12", "--heldout", "6"],
    "vlm train": ["--cycles", "1"],
}
_PATIENCE = 300.0


def _lines(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command under "Try it", with small numbers in place of the page's.

    The package that the first one installs is there already (`needs.package`).
    """
    _, _, section = page.read_text("utf-8").partition("## Try it")
    block = next(one.content for one in MarkdownIt().parse(section) if one.info == "sh")
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line.replace("cycle_3", "cycle_1"))
        if words[0] == "pip":
            continue
        yield [*words, *next((more for key, more in _SMALL.items() if key in line), [])]


def _verdicts(run: Path) -> list[tuple[str, str, float]]:
    """Return the answers of the first cycle with their rewards."""
    records = read_records(RunDir(run).verified_path(1))
    return sorted((one["id"], one["completion"], one["reward"]) for one in records)


def test_try_it(root, tmp_path, monkeypatch, capsys) -> None:
    """After SIGKILL the same command ends with the answers and weights of an undisturbed run."""
    package("easy_vqa")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(root / "examples")
    prepare, fine_tune, train, measure = _lines(root / "docs/howto/see.md")
    monkeypatch.setattr(sys, "argv", prepare[1:])
    runpy.run_path(prepare[1], run_name="__main__")
    assert main([*fine_tune[1:], "-q"]) == 0
    assert main([*train[1:], "-q"]) == 0

    whole, broken = Path("runs/easy_vqa/raft"), Path("runs/broken")
    again = [*train[1:], "--output", str(broken), "-q"]
    killed = subprocess.Popen([sys.executable, "-m", "halo_forge", *again])
    journal, end = RunDir(broken).verified_path(1), time.monotonic() + _PATIENCE
    while not (journal.is_file() and journal.stat().st_size):
        assert killed.poll() is None
        assert time.monotonic() < end
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(30) == -signal.SIGKILL
    assert not RunDir(broken).is_complete(1)
    assert main(again) == 0
    assert len(RunDir(broken).read_info()["attempts"]) == 2
    assert _verdicts(broken) == _verdicts(whole)
    one, two = (
        load_file(RunDir(run).checkpoint_path(1) / "model.safetensors") for run in (whole, broken)
    )
    assert all((one[name] == two[name]).all() for name in one)

    capsys.readouterr()
    assert main([*measure[1:], "-q", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prompts"] == 6
