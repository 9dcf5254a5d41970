"""From a training file to a fine-tuned model, through the public door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from halo_forge.config.load import load_config
from halo_forge.core.errors import UserError
from halo_forge.models import checkpoint, load
from halo_forge.sft import memory
from halo_forge.sft.config import SFTConfig
from halo_forge.sft.trainer import SFTTrainer
from halo_forge.store.run_dir import RunDir
from tests.fakes import Diary
from tests.needs import public_file

NAMES = ("sum", "list", "tree", "prime", "word", "date", "graph", "matrix", "queue", "stack")


@pytest.fixture
def settings(tiny_model_dir, tmp_path) -> dict[str, Any]:
    """A run of a second: ten questions, the tiny model."""
    file = tmp_path / "train.jsonl"
    rows = [{"prompt": f"{n} {n * 2} {n * 3}", "completion": f"print('{n}')"} for n in NAMES]
    file.write_text("\n".join(map(json.dumps, rows)))
    return {
        "model.name": str(tiny_model_dir),
        "data.train_file": str(file),
        "data.validation_split": 0.2,
        "output_dir": str(tmp_path / "run"),
        "training.epochs": 2,
        "training.gradient_accumulation_steps": 1,
        "training.learning_rate": 1e-2,
        "lora.r": 4,
        "lora.dropout": 0.0,
        "hardware.device": "cpu",
        "hardware.bf16": False,
        "hardware.gradient_checkpointing": "off",
        "report_to": [],
    }


def trainer(settings: dict[str, Any], diary: Diary | None = None, **how: Any) -> SFTTrainer:
    """The trainer of some settings."""
    config = load_config(SFTConfig, [], settings).value
    return SFTTrainer(config, observer=diary or Diary(), **how)


def test_a_run(settings, tmp_path):
    """The model, its tokenizer, its card and the run's figures; the same command has no more to do.

    What is held out and the figures of each step are recorded; states to go on from are gone.
    """
    diary = Diary()
    figures = trainer(settings, diary).train()
    run = RunDir(tmp_path / "run")
    assert figures["losses"][0] > figures["losses"][-1]
    assert figures["steps"] == len(figures["losses"]) == 8
    assert [entry["step"] for entry in figures["eval_losses"]] == [4, 8]
    assert figures["data"]["train"]["records"] == 8
    assert figures["data"]["validation"]["records"] == 2
    lines = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    assert [line["loss"] for line in lines if "loss" in line] == figures["losses"]
    assert sum("eval/loss" in line for line in lines) == 2

    model = run.final_model_path
    assert checkpoint.is_complete(model)
    assert checkpoint.read_manifest(model)["meta"]["data"] == figures["data"]
    assert load.load_tokenizer(model).chat_template
    card = (model / "README.md").read_text()
    assert figures["data"]["train"]["sha256"] in card
    assert "learning_rate: 0.01" in card
    assert "not stated in its files" in card
    assert not run.waypoints_path.exists()
    assert SFTConfig.from_yaml(run.config_path).training.epochs == 2

    said = Diary()
    assert trainer(settings, said).train() == figures
    assert any("is complete, nothing is owed" in line for line in said.messages)
    assert not any("Epoch" in line for line in said.messages)


def test_other_settings_are_refused_and_forked(settings, tmp_path):
    """The key that differs is named; `fork` begins a new run from the old one's model."""
    trainer(settings).train()
    other = settings | {"training.learning_rate": 5e-3}
    with pytest.raises(UserError, match=r"training.learning_rate: 0.01 then, 0.005 now") as caught:
        trainer(other).train()
    assert "--fork DIR" in str(caught.value)
    forked = trainer(other, fork=tmp_path / "fork")
    first = forked.train()["losses"][0]
    start = RunDir(tmp_path / "run").read_sft_result()
    assert first < start["losses"][0]
    assert SFTConfig.from_yaml(tmp_path / "fork" / "config.yaml").model.name.endswith("final_model")


def test_other_data_is_refused(settings):
    """A file of the same name with other content is another run; a moved one is the same."""
    trainer(settings).train()
    file = Path(settings["data.train_file"])
    moved = file.rename(file.with_name("moved.jsonl"))
    trainer(settings | {"data.train_file": str(moved)}).train()
    moved.write_text(moved.read_text().replace("print", "puts"))
    with pytest.raises(UserError, match=r"data\.content"):
        trainer(settings | {"data.train_file": str(moved)}).train()


def test_all_weights(settings, tmp_path):
    """Without LoRA the whole model is written, and says where its licence stands."""
    base = Path(settings["model.name"])
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    try:
        trainer(settings | {"lora.enabled": False, "training.learning_rate": 1e-3}).train()
    finally:
        (base / "README.md").unlink()
    model = tmp_path / "run" / "final_model"
    assert checkpoint.read_manifest(model)["kind"] == "full"
    assert "license: apache-2.0" in (model / "README.md").read_text()


def test_the_plan(settings):
    """What a run would do, without a run directory."""
    plan = trainer(settings).plan()
    assert (plan["steps"], plan["state"], plan["complete"]) == (8, 0, False)
    assert plan["train"]["records"] == 8
    assert "GB free" in plan["memory"]
    assert not Path(settings["output_dir"]).exists()


def test_a_model_that_cannot_fit(settings, monkeypatch):
    """Said before anything is loaded, with the ways out."""
    monkeypatch.setattr(memory, "free_memory", lambda device, machine: 1000)
    with pytest.raises(UserError, match=r"0\.00 GB free.*take a smaller model"):
        trainer(settings).train()
    assert not Path(settings["output_dir"]).exists()


def test_records_that_are_too_long(settings):
    """Counted and said; when none is left, what to change."""
    diary = Diary()
    trainer(settings | {"data.max_seq_length": 55, "data.validation_split": 0}, diary).train()
    assert any("records are longer than 55 tokens: left out" in m for m in diary.messages)
    with pytest.raises(UserError, match=r"dropped_too_long 8.*raise it"):
        trainer(settings | {"data.max_seq_length": 5}).plan()


def test_validation_records_that_are_trained_on(settings, tmp_path):
    """A validation file with a question of the training file is refused."""
    lines = Path(settings["data.train_file"]).read_text().splitlines()
    held = tmp_path / "held.jsonl"
    held.write_text('{"prompt": "new", "completion": "x"}\n' + lines[3])
    with pytest.raises(UserError, match=r"held\.jsonl:2: asks what the training file asks too"):
        trainer(settings | {"data.validation_file": str(held)}).train()
    held.write_text('{"prompt": "new", "completion": "x"}\n')
    figures = trainer(settings | {"data.validation_file": str(held)}).train()
    assert figures["data"]["train"]["records"] == 10
    assert len(figures["eval_losses"]) == 2


def test_a_public_data_set(settings):
    """Learned from local copies; its licence is in the card, and what it is for is said."""
    source = public_file("MbppPlus.jsonl.gz")
    public = {"data.train_file": None, "data.dataset": "mbpp_plus", "data.source": str(source)}
    small = {"data.max_samples": 6, "training.epochs": 1, "data.max_seq_length": 4000}
    diary = Diary()
    figures = trainer(settings | public | small, diary).train()
    counts = figures["data"]
    assert counts["train"]["records"] + counts["validation"]["records"] == 6
    card = Path(settings["output_dir"], "final_model", "README.md").read_text()
    assert "licence: Apache-2.0" in card
    assert any("mbpp_plus is a test set" in line for line in diary.messages)


def test_a_file_with_a_manifest(settings, tmp_path):
    """What its maker noted of it stands in the card; where it lay on this machine does not."""
    file = Path(settings["data.train_file"])
    manifest = {"dataset": "mine", "licence": "MIT", "revision": "abc", "rows": 10}
    manifest["source"] = str(tmp_path / "mbpp")
    file.with_name("train.jsonl.manifest.json").write_text(json.dumps(manifest))
    trainer(settings | {"training.epochs": 1}).train()
    card = (tmp_path / "run" / "final_model" / "README.md").read_text()
    for line in ("- file: train.jsonl", "- dataset: mine", "- licence: MIT", "- source: mbpp"):
        assert line in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize(
    ("changed", "how", "message"),
    [
        ({"data.train_file": None}, {}, "nothing to learn from"),
        ({}, {"resume": True}, "--resume: there is no run"),
        ({"lora.target_modules": ["qkv"]}, {}, "no linear layer called qkv"),
        ({"report_to": ["paper"]}, {}, "paper"),
    ],
)
def test_wrong_input_leaves_no_run(settings, changed, how, message):
    """One clear line, before there is a run directory."""
    with pytest.raises(UserError, match=message):
        trainer(settings | changed, **how).train()
    assert not Path(settings["output_dir"]).exists()


def test_four_bits_without_bitsandbytes(settings, monkeypatch):
    """The package that is missing, the extra, and the way without it."""
    monkeypatch.setattr("halo_forge.models.quantize.find_spec", lambda name: None)
    diary = Diary()
    with pytest.raises(UserError, match=r"needs the package bitsandbytes.*halo-forge\[qlora\]"):
        trainer(settings | {"qlora.enabled": True}, diary).train()
    assert any("slower and less exact" in line for line in diary.messages)
    assert not Path(settings["output_dir"]).exists()


def test_a_benchmarks_tasks_are_not_trained_on(settings, tmp_path):
    """A record that holds a task of the benchmark is left out, and the run says which."""
    benchmark = tmp_path / "benchmark.jsonl"
    asked = "Write a program that reads two numbers from its input and prints the larger of them."
    benchmark.write_text(json.dumps({"id": "larger", "prompt": asked, "tests": "assert True"}))
    with Path(settings["data.train_file"]).open("a") as file:
        file.write("\n" + json.dumps({"prompt": f"Please: {asked}", "completion": "print(1)"}))
    figures = trainer({**settings, "decontaminate.against": [str(benchmark)]}).train()
    counted = figures["data"]["train"]["examples"] + figures["data"]["validation"]["examples"]
    assert counted == len(NAMES)
    facts = RunDir(tmp_path / "run").read_info()["attempts"][-1]["decontamination"]
    assert (facts["checked"], facts["overlapping"]) == (len(NAMES) + 1, 1)
    assert facts["first"][0]["record"] == f"line {len(NAMES) + 1}"


def test_a_finished_run_owes_nothing(settings):
    """The plan of a run that is complete says that all of its steps are done."""
    trainer(settings).train()
    plan = trainer(settings).plan()
    assert plan["complete"]
    assert plan["state"] == plan["steps"] > 0


def test_four_bits_are_of_linear_layers_alone(settings, tiny_model_dir):
    """Embeddings, norms and the output layer stay as they are in the plan, as bitsandbytes does."""
    skeleton = load.load_skeleton(tiny_model_dir)
    whole = sum(p.numel() for p in skeleton.parameters())
    config = load_config(SFTConfig, [], settings | {"qlora.enabled": True}).value
    planned = memory.plan_memory(skeleton, config, torch.device("cpu"))
    embedded = skeleton.get_input_embeddings().weight.numel()
    assert 4 * embedded < planned.frozen < 4 * whole
