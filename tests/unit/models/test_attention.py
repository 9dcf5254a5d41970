"""Attention is chosen by a step that is tried where it is known to fail, and there alone."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from halo_forge.models import attention

ROCM = torch.device("cuda:0")


@pytest.fixture
def tried(monkeypatch):
    """Pretend a torch for ROCm; note what is tried."""
    seen = []

    def survives(folder, device, *, trust_remote_code):
        seen.append(device)
        return not str(folder).endswith("hybrid")

    monkeypatch.setattr(attention, "survives", survives)
    monkeypatch.setattr(torch.version, "hip", "7.14")
    return seen


def test_where_nothing_is_tried(tmp_path, monkeypatch, tried):
    """What is asked for is taken, and on a processor or with CUDA nothing is in doubt."""
    assert attention.choose_attention("eager", tmp_path, ROCM) == "eager"
    assert attention.choose_attention("auto", tmp_path, torch.device("cpu")) == "sdpa"
    monkeypatch.setattr(torch.version, "hip", None)
    assert attention.choose_attention("auto", tmp_path, ROCM) == "sdpa"
    assert tried == []


def test_with_rocm(tmp_path, tried, caplog):
    """A step decides, and what failed is said."""
    assert attention.choose_attention("auto", tmp_path / "plain", ROCM) == "sdpa"
    assert caplog.text == ""
    assert attention.choose_attention("auto", tmp_path / "hybrid", ROCM) == "eager"
    assert "a training step with sdpa attention failed" in caplog.text
    assert tried == ["cuda:0", "cuda:0"]


def test_the_step_itself(tiny_model_dir, tmp_path):
    """A sound model gives figures; one whose weights are not numbers, and none at all, do not."""
    from safetensors.torch import load_file, save_file

    def told(folder):
        found = []
        attention._step(found.append, iter(()), folder, "cpu", False)
        return found

    assert told(tiny_model_dir) == [True]
    broken = shutil.copytree(tiny_model_dir, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    assert told(broken) == [False]
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"model_type": "unheard-of"}))
    assert not attention.survives(
        broken, "cpu", trust_remote_code=False
    )  # the one that is tried in a process of its own
