"""`sft train` at the command line: settings in, one call, the result out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from halo_forge.cli import main
from halo_forge.config.sft import SFTConfig

FIGURES = {
    "final_model": "my run/final_model",
    "steps": 8,
    "best_step": 4,
    "loss": 1.25,
    "eval_losses": [{"step": 4, "loss": 1.5}, {"step": 8, "loss": 1.625}],
}


class Trainer:
    """Stands in for training: notes what it is given."""

    calls: list[Trainer]
    interrupts = False

    def __init__(self, config: SFTConfig, **how: Any) -> None:
        self.config, self.how = config, how
        Trainer.calls.append(self)

    def train(self) -> dict[str, Any]:
        """Return what a run returns."""
        if self.interrupts:
            raise KeyboardInterrupt
        return FIGURES

    def plan(self) -> dict[str, Any]:
        """Return what a run would do."""
        return {
            "steps": 9,
            "state": 4,
            "complete": False,
            "train": {"records": 3},
            "validation": {"records": 1},
            "memory": "little",
        }


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> type[Trainer]:
    """The trainer replaced by its stand-in."""
    module = ModuleType("halo_forge.sft.trainer")
    stand_in = type("StandIn", (Trainer,), {})
    module.SFTTrainer = stand_in  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Trainer, "calls", [], raising=False)
    return stand_in


def test_every_flag_of_the_contract(trainer: type[Trainer], tmp_path: Path) -> None:
    """Flags reach their settings, over those of a file."""
    file = tmp_path / "sft.yaml"
    file.write_text("training: {num_train_epochs: 9, learning_rate: 5e-5}\n")
    flags = (
        f"-c {file} -m base --data d.jsonl -o out --epochs 2 --batch-size 3 "
        "--gradient-accumulation 4 --learning-rate 1e-3 --warmup-ratio 0.1 --max-seq-length 99 "
        "--validation-split 0.2 --lora-rank 5 --lora-alpha 6 --lora-dropout 0.3 --max-samples 7 "
        "--seed 8 --early-stopping 2 --resume --fork other -q"
    )
    assert main(["sft", "train", *flags.split()]) == 0
    (call,) = trainer.calls
    config = call.config
    training, data, lora = config.training, config.data, config.lora
    assert (config.model.name, data.train_file, config.output_dir) == ("base", "d.jsonl", "out")
    assert (training.epochs, training.batch_size) == (2, 3)
    assert (training.gradient_accumulation_steps, training.learning_rate) == (4, 1e-3)
    assert (training.warmup_ratio, data.max_seq_length, data.validation_split) == (0.1, 99, 0.2)
    assert (lora.r, lora.alpha, lora.dropout, lora.enabled) == (5, 6, 0.3, True)
    assert (data.max_samples, config.seed, training.early_stopping_patience) == (7, 8, 2)
    assert call.how["resume"]
    assert call.how["fork"] == Path("other")
    assert main(["sft", "train", "--no-lora", "-q"]) == 0
    assert not trainer.calls[1].config.lora.enabled


def test_the_end(trainer: type[Trainer], capsys: pytest.CaptureFixture[str]) -> None:
    """Losses, which weights were kept, and the next command."""
    assert main(["sft", "train", "--progress", "none"]) == 0
    out = capsys.readouterr().out
    assert "Loss: 1.2500 over 8 steps" in out
    assert "after step 4: 1.5000, kept" in out
    assert "--checkpoint 'my run/final_model'" in out
    assert main(["sft", "train", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == FIGURES


def test_dry_run(trainer: type[Trainer], capsys: pytest.CaptureFixture[str]) -> None:
    """Every setting with its source, the records, the steps, the memory; nothing is trained."""
    trainer.train = None  # type: ignore[assignment, method-assign]
    assert main(["sft", "train", "--epochs", "5", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "training.epochs" in out
    assert "--epochs" in out
    assert "Steps: 4 of 9 done" in out
    assert main(["sft", "train", "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["config"]["training"]["epochs"] == 3
    assert document["train"] == {"records": 3}


def test_interrupted(trainer: type[Trainer], capsys: pytest.CaptureFixture[str]) -> None:
    """How to go on is said, and the exit code is that of an interrupt."""
    trainer.interrupts = True
    assert main(["sft", "train", "-o", "out", "--progress", "plain"]) == 130
    assert "out keeps what is done; the same command goes on" in capsys.readouterr().err


def test_only_one_process_speaks(
    trainer: type[Trainer], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several processes, all but the first are silent."""
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert main(["sft", "train", "--json", "--progress", "plain"]) == 0
    assert capsys.readouterr() == ("", "")


def test_short_names(capsys: pytest.CaptureFixture[str]) -> None:
    """The data sets with answers, and no other; what they are and their licences."""
    assert main(["sft", "datasets"]) == 0
    out = capsys.readouterr().out
    assert "codeforces_cpp" in out
    assert "livecodebench" not in out
    assert main(["sft", "datasets", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"mbpp", "humaneval", "gsm8k"} <= {row["name"] for row in rows}
    assert all(row["licence"] for row in rows)


def test_two_things_to_learn_from(capsys: pytest.CaptureFixture[str]) -> None:
    """A file and a data set at once are refused, before anything is read."""
    assert main(["sft", "train", "--data", "a.jsonl", "--dataset", "mbpp"]) == 2
    assert "keep one" in capsys.readouterr().err
