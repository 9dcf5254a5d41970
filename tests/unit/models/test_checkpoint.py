"""Checkpoints: whole or absent, and loadable elsewhere."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from halo_forge.config.sections import LoraSettings
from halo_forge.core.errors import ModelFault, StoreFault
from halo_forge.models import checkpoint, load, lora
from halo_forge.models.checkpoint import is_complete, model_digest, save_checkpoint

IDS = torch.arange(3, 19).reshape(2, 8)


@pytest.fixture
def tokenizer(tiny_model_dir):
    """The tiny model's tokenizer."""
    return load.load_tokenizer(tiny_model_dir)


@pytest.fixture
def trained(tiny_model_dir):
    """A model with an adapter that does something."""
    model = load.load_model(tiny_model_dir, dtype=torch.float32)
    model = lora.add_lora(model, LoraSettings(r=2), seed=3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.05)
    return model.eval()


def logits(model):
    """What a model answers to a fixed input."""
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def test_adapter_round_trip(trained, tokenizer, tiny_model_dir, tmp_path):
    """A saved adapter loads to the same answers and says what it was made from."""
    path = save_checkpoint(trained, tokenizer, tmp_path / "cycle_1_final", tiny_model_dir, {"n": 1})
    assert is_complete(path)
    assert torch.equal(logits(load.load_model(path, dtype=torch.float32)), logits(trained))
    note = checkpoint.read_manifest(path)
    assert (note["kind"], note["meta"]) == ("lora", {"n": 1})
    assert note["libraries"]["torch"] == torch.__version__
    assert (path / note["base"]).samefile(tiny_model_dir)
    assert load.load_tokenizer(path).chat_template == tokenizer.chat_template
    assert [entry.name for entry in tmp_path.iterdir()] == ["cycle_1_final"]


def test_adapter_names_nothing_of_this_machine(trained, tokenizer, tmp_path):
    """Of a built-in base the reference is stored, and no file holds a path of this machine."""
    ref = "builtin:smollm2-135m"
    path = save_checkpoint(trained, tokenizer, tmp_path / "a", ref, {})
    config = json.loads((path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == ref
    texts = [file.read_text() for file in path.glob("*.json") if file.name != "tokenizer.json"]
    assert not any(str(Path.home()) in text or "/tmp" in text for text in texts)


def test_tree_may_move(trained, tokenizer, tiny_model_dir, tmp_path):
    """Base and checkpoint that move together still find each other."""
    base = shutil.copytree(tiny_model_dir, tmp_path / "old" / "base")
    save_checkpoint(trained, tokenizer, tmp_path / "old" / "run" / "a", base, {})
    shutil.move(tmp_path / "old", tmp_path / "new")
    model = load.load_model(tmp_path / "new" / "run" / "a", dtype=torch.float32)
    assert torch.equal(logits(model), logits(trained))


def test_base_of_a_continued_adapter(trained, tokenizer, tiny_model_dir, tmp_path):
    """Training that goes on from an adapter names the whole model below, not the adapter."""
    first = save_checkpoint(trained, tokenizer, tmp_path / "sft" / "a", tiny_model_dir, {})
    model = load.load_model(first, dtype=torch.float32, trainable=True)
    second = save_checkpoint(model, tokenizer, tmp_path / "raft" / "b", first, {})
    assert (second / checkpoint.read_manifest(second)["base"]).samefile(tiny_model_dir)


def test_full_weights_round_trip(tiny_model_dir, tokenizer, tmp_path):
    """A model without adapter is saved whole, its embeddings still tied."""
    model = load.load_model(tiny_model_dir, dtype=torch.float32, trainable=True)
    with torch.no_grad():
        model.model.norm.weight.mul_(2)
    path = save_checkpoint(model, tokenizer, tmp_path / "full", tiny_model_dir, {})
    assert is_complete(path)
    assert checkpoint.read_manifest(path)["kind"] == "full"
    again = load.load_model(path, dtype=torch.float32)
    assert torch.equal(logits(again), logits(model))
    assert again.lm_head.weight is again.model.embed_tokens.weight


def test_existing_directory_is_kept(trained, tokenizer, tiny_model_dir, tmp_path):
    """A checkpoint is never written over another one."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "precious").write_text("")
    with pytest.raises(StoreFault):
        save_checkpoint(trained, tokenizer, tmp_path / "a", tiny_model_dir, {})
    assert (tmp_path / "a" / "precious").exists()


def test_full_disk(trained, tokenizer, tiny_model_dir, tmp_path, monkeypatch):
    """A disk that fills up leaves no checkpoint and says how to go on."""
    from safetensors import SafetensorError

    def fail(*_, **__):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(StoreFault, match="no space left"):
        save_checkpoint(trained, tokenizer, tmp_path / "a", tiny_model_dir, {})
    assert list(tmp_path.iterdir()) == []


def test_incomplete(trained, tokenizer, tiny_model_dir, tmp_path):
    """A folder that lost its note or its weights, or never had them, is not complete."""
    assert not is_complete(tmp_path / "absent")
    assert not is_complete(tiny_model_dir)
    path = save_checkpoint(trained, tokenizer, tmp_path / "a", tiny_model_dir, {})
    weights = path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert not is_complete(path)
    weights.unlink()
    assert not is_complete(path)


def test_digest(trained, tokenizer, tiny_model_dir, tmp_path):
    """The digest follows the content of adapter and base, wherever they lie."""
    base = shutil.copytree(tiny_model_dir, tmp_path / "base")
    one = save_checkpoint(trained, tokenizer, tmp_path / "one", base, {"cycle": 1})
    assert model_digest(base) == model_digest(tiny_model_dir)
    two = save_checkpoint(trained, tokenizer, tmp_path / "far" / "two", tiny_model_dir, {})
    assert model_digest(one) == model_digest(two) != model_digest(base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))
    assert model_digest(one) != model_digest(two)
    with torch.no_grad():
        next(w for n, w in trained.named_parameters() if "lora_B" in n).add_(1)
    three = save_checkpoint(trained, tokenizer, tmp_path / "three", tiny_model_dir, {})
    assert model_digest(three) != model_digest(two)


def test_digest_of_a_damaged_model(tiny_model_dir, tmp_path):
    """What cannot be loaded has no digest."""
    folder = shutil.copytree(tiny_model_dir, tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFault):
        model_digest(folder)


def test_same_bytes_in_every_process(trained, tokenizer, tmp_path):
    """The layers are sorted: peft keeps a set, whose order changes with the process."""
    path = save_checkpoint(trained, tokenizer, tmp_path / "a", "builtin:smollm2-135m", {})
    names = json.loads((path / "adapter_config.json").read_text())["target_modules"]
    assert names == sorted(LoraSettings().target_modules)
