"""The front doors of vision: their defaults, their flags, and where they lead."""

import json
from pathlib import Path

import pytest

from halo_forge import cli
from halo_forge.data.prompts import load_prompts
from tests.needs import package


@pytest.fixture
def prompts(tmp_path):
    """A file with one question about an image."""
    (tmp_path / "a.png").write_bytes(b"not looked at yet")
    path = tmp_path / "questions.jsonl"
    path.write_text('{"prompt": "which?", "image": "a.png", "ground_truth": "red"}\n')
    return str(path)


def plan(capsys, *arguments):
    """Return the settings that a dry run shows."""
    assert cli.main(["vlm", *arguments, "--dry-run", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_train_begins_with_its_own_values(capsys, prompts):
    """Cycles, samples and verifier are the contract's; flags go over them."""
    settings = plan(capsys, "train", "--prompts", prompts)["config"]
    assert settings["raft"]["num_cycles"] == 6
    assert settings["raft"]["samples_per_prompt"] == 4
    assert settings["raft"]["reward_threshold"] == 0.5
    assert settings["verifier"]["type"] == "vision"
    assert settings["output_dir"] == "models/vlm_raft"
    flags = ["--cycles", "2", "--perception-weight", "0.1", "--max-pixels", "5000"]
    settings = plan(capsys, "train", "--prompts", prompts, *flags)["config"]
    assert settings["raft"] | {"num_cycles": 2, "samples_per_prompt": 4} == settings["raft"]
    assert settings["verifier"]["options"] == {"perception_weight": 0.1}
    assert settings["images"] == {"max_pixels": 5000, "from_web": False}


def test_benchmark_begins_with_its_own_values(capsys, prompts):
    """It measures with the same verifier."""
    settings = plan(capsys, "benchmark", "--prompts", prompts, "--output-weight", "0.5")["config"]
    assert settings["samples"] == 4
    assert settings["verifier"]["type"] == "vision"
    assert settings["verifier"]["options"] == {"output_weight": 0.5}


@pytest.mark.parametrize("command", ["train", "benchmark"])
def test_questions_are_asked_for(command, capsys):
    """The built-in tasks show no images."""
    assert cli.main(["vlm", command]) == 2
    assert "--prompts (or --dataset) is missing" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "sft", "benchmark"])
def test_help_shows_what_holds_here(command, capsys):
    """The defaults shown are those of the preset, and flags of programs are not offered."""
    assert cli.main(["vlm", command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--max-pixels" in text
    assert "--verifier-command" not in text
    if command == "train":
        assert "only judges the held-out prompts. [default: 6]" in text


def test_questions_of_a_public_data_set(capsys, tmp_path, monkeypatch):
    """`--dataset` makes a prompts file in the cache, once, and takes the data set's own preset."""
    package("easy_vqa")
    monkeypatch.setenv("HALO_FORGE_CACHE", str(tmp_path))
    for command, split in (("train", "train"), ("benchmark", "test")):
        config = plan(capsys, command, "--dataset", "easy_vqa", "--limit", "7")["config"]
        path = Path(config["prompts"])
        assert (path.parent, path.name.split("-")[1]) == (tmp_path / "prompts", split)
        assert len(load_prompts(path)) == 7
        assert config["verifier"]["options"] == {"preset": "vqa"}
        before = path.stat().st_mtime_ns
        again = plan(capsys, command, "--dataset", "easy_vqa", "--limit", "7")["config"]
        assert (again, path.stat().st_mtime_ns) == (config, before)
        path.write_text("{}\n")
        assert plan(capsys, command, "--dataset", "easy_vqa", "--limit", "7")["config"] == config
        assert len(load_prompts(path)) == 7
    chosen = [
        "--dataset",
        "easy_vqa/test",
        "--limit",
        "8",
        "--set",
        "verifier.options.preset=docvqa",
    ]
    config = plan(capsys, "train", *chosen)["config"]
    assert "easy_vqa-test-" in config["prompts"]
    assert config["verifier"]["options"] == {"preset": "docvqa"}


def test_what_a_dataset_cannot_be(capsys, prompts):
    """Two sources of questions, a limit of nothing, a data set without images, and none at all."""
    for arguments, message in (
        (["--dataset", "easy_vqa", "--prompts", prompts], "there are prompts already"),
        (["--prompts", prompts, "--limit", "3"], "none is named"),
        (["--dataset", "mbpp"], "shows no images"),
        (["--dataset", "textvqq"], "textvqa"),
        (["--dataset", "easy_vqa/dev"], "train, test"),
    ):
        for command in ("train", "benchmark"):
            assert cli.main(["vlm", command, *arguments]) == 2
            assert message in capsys.readouterr().err
