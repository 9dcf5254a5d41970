"""Measure, train, measure again: with the runner and the trainer, on a learner that stands in."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from halo_forge.cli import main
from halo_forge.config.full import MODEL_SUITES, FullConfig
from halo_forge.core.identity import content_id
from halo_forge.rlvr import raft_trainer
from halo_forge.store.full_dir import FullDir
from halo_forge.store.records import read_records
from tests.fakes import FakeLearner, FakeVerifier, Offline, plug_in, tree, write_script

HELDOUT = [f"held out {n}" for n in range(8)]


class Shop:
    """A model, prompts, a learner, and the command that uses them."""

    def __init__(self, folder: Path) -> None:
        self.learner = FakeLearner()
        self.output = folder / "out"
        self.model = folder / "model"
        self.model.mkdir()
        (self.model / "weights").write_text("base")
        self.folder = FullDir.of(str(self.output), str(self.model))
        self.train = self._prompts(folder / "train.jsonl", ["train a", "train b"])
        self.heldout = self._prompts(folder / "heldout.jsonl", HELDOUT)
        write_script(folder / "script.jsonl", {"*": ["pass a", "compile b"]})
        self.script = folder / "script.jsonl"

    @staticmethod
    def _prompts(path: Path, texts: list[str]) -> Path:
        path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
        return path

    def run(self, *more: str) -> int:
        """Run the command."""
        return main(
            [
                *("benchmark", "full", "-m", str(self.model), "-c", "2", "-o", str(self.output)),
                *("--prompts", str(self.train), "--eval-prompts", str(self.heldout)),
                *("--samples", "2", "--k", "1", "--samples-per-prompt", "2", "-q"),
                *("--verifier", "fake", "--set", "generation.engine=offline"),
                *("--set", f"generation.script={self.script}", "--set", "sample_seconds=0.01"),
                *more,
            ]
        )


def _digest(ref: str | Path) -> str:
    return content_id(tree(Path(ref)))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop that needs no torch."""
    made = Shop(tmp_path)
    checkpoint = ModuleType("halo_forge.models.checkpoint")
    checkpoint.model_digest = _digest  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, checkpoint.__name__, checkpoint)
    monkeypatch.setattr(raft_trainer, "_learner", lambda keeper: made.learner)
    plug_in(monkeypatch, "verifiers", "fake", FakeVerifier)
    plug_in(monkeypatch, "engines", "offline", Offline)
    return made


def test_the_pass(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Both measurements, the cycles between, the readings, and the table of it all."""
    assert shop.run() == 0
    out = capsys.readouterr().out
    assert "after 2 cycles" in out
    assert "pass: +0.0 points" in out
    assert "8 problems, " not in out
    assert [request.policy for request in shop.learner.requests] == [
        str(shop.model),
        str(shop.folder.raft.checkpoint_path(1)),
    ]
    for run in (shop.folder.baseline, shop.folder.final(2)):
        assert run.read_benchmark()["prompts"] == 8  # type: ignore[index]
        assert len(list(read_records(run.benchmark_samples_path))) == 16
    assert not shop.folder.raft.eval_cycles, "it measured twice"
    with shop.folder.load_path.open(newline="") as file:
        stages = {row["stage"] for row in csv.DictReader(file)}
    assert stages <= {"", "baseline", "raft", "final_2"}
    record = json.loads(shop.folder.result_path.read_text())
    assert (record["cycles"], record["pass"]["rate"]) == (2, "pass@1")
    assert record["seconds"].keys() == {"baseline", "training", "final"}


def test_again_does_nothing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command finds all of it done, and says the same."""
    assert shop.run("--json") == 0
    first = json.loads(capsys.readouterr().out)
    count = len(shop.learner.requests)
    assert shop.run("--json") == 0
    assert json.loads(capsys.readouterr().out) == first
    assert len(shop.learner.requests) == count == 2


def test_goes_on_after_an_interruption(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in its second cycle, it goes on with that cycle; nothing is made twice."""

    def stop(request: Any) -> None:
        if len(shop.learner.requests) == 1:
            raise KeyboardInterrupt

    plain = shop.learner
    shop.learner = FakeLearner(before=stop)
    assert shop.run() == 130
    before = tree(shop.folder.baseline.path)
    shop.learner = plain
    assert shop.run() == 0
    assert [Path(request.output).name for request in plain.requests] == ["cycle_2_final"]
    after = tree(shop.folder.baseline.path)
    assert {name for name in before if before[name] != after[name]} <= {"run.json", "result.json"}


def test_prompts_that_are_in_both(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """A held-out prompt that is also trained on stops it before anything is measured."""
    shop.train.write_text(shop.train.read_text() + json.dumps({"prompt": HELDOUT[3]}) + "\n")
    assert shop.run() == 2
    assert "1 held-out prompts are also trained on" in capsys.readouterr().err
    assert not shop.output.exists()


def test_other_settings_are_refused(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Results of two settings never meet in one folder."""
    assert shop.run() == 0
    assert shop.run("--temperature", "0.1") == 2
    assert "generation.temperature: 0.7 then, 0.1 now" in capsys.readouterr().err


def test_suites_and_contradictions(capsys: pytest.CaptureFixture[str]) -> None:
    """A suite is its models; k above the samples and two sources of models are refused."""
    assert FullConfig(suite="all").models == MODEL_SUITES["all"]
    assert MODEL_SUITES["small"] == ("Qwen/Qwen2.5-Coder-0.5B",)
    with pytest.raises(ValidationError, match="a suite brings its models"):
        FullConfig.model_validate({"suite": "all", "model": {"name": "mine"}})
    with pytest.raises(ValidationError, match="k = 9 needs at least 9 samples, got 8"):
        FullConfig(k=(1, 9))
    with pytest.raises(ValidationError, match="temperature 0 gives the same answer"):
        FullConfig.model_validate({"generation": {"temperature": 0}})
    assert main(["benchmark", "full", "--suite", "medium", "--dry-run"]) == 0
    assert "Models: Qwen/Qwen2.5-Coder-0.5B, Qwen/Qwen2.5-Coder-1.5B" in capsys.readouterr().out


def test_folders_of_models_are_apart() -> None:
    """Names that look alike once they are file names still have folders of their own."""
    names = ["a/b", "a-b", "a b", "../a-b", "/tmp/" + "x" * 300]
    folders = {FullDir.of("out", name).path for name in names}
    assert len(folders) == len(names)
    assert all(path.parent == Path("out") and len(path.name) < 80 for path in folders)
