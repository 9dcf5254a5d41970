"""Models, adapters and tokenizers in memory, and what each damage of their folders says."""

import json
import shutil

import pytest
import torch
from peft import PeftModel

from halo_forge.config.sections import LoraSettings
from halo_forge.core.errors import ModelFault, UserError
from halo_forge.models import load, lora
from halo_forge.models.checkpoint import save_checkpoint

CPU = torch.device("cpu")
IDS = torch.arange(3, 19).reshape(2, 8)


def logits(model):
    """What a model answers to a fixed input, in float32."""
    with torch.inference_mode():
        return model(input_ids=IDS).logits.float()


@pytest.fixture
def folder(tiny_model_dir, tmp_path):
    """A copy of the tiny model that a test may damage."""
    return shutil.copytree(tiny_model_dir, tmp_path / "model")


@pytest.fixture
def adapter(tiny_model_dir, tmp_path):
    """A checkpoint with an adapter that changes the answers."""
    model = load.load_model(tiny_model_dir, dtype=torch.float32)
    model = lora.add_lora(model, LoraSettings(r=4), seed=1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.2, generator=torch.Generator().manual_seed(len(name)))
    tokenizer = load.load_tokenizer(tiny_model_dir)
    return save_checkpoint(model, tokenizer, tmp_path / "run" / "a", tiny_model_dir, {})


def test_plain_model(tiny_model_dir):
    """A model for answering has no gradients, no dropout and tied embeddings."""
    model = load.load_model(tiny_model_dir, dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_trainable_model(tiny_model_dir):
    """A model for training has gradients everywhere."""
    model = load.load_model(tiny_model_dir, dtype=torch.float32, trainable=True)
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())


def test_adapter_folder_brings_its_base(adapter, tiny_model_dir):
    """The folder of an adapter is enough: base and tokenizer follow from it."""
    model = load.load_model(adapter, dtype=torch.float32)
    assert isinstance(model, PeftModel)
    plain = load.load_model(tiny_model_dir, dtype=torch.float32)
    assert (logits(model) - logits(plain)).abs().max() > 1e-3
    named = load.load_model(tiny_model_dir, dtype=torch.float32, adapter=adapter)
    assert torch.equal(logits(named), logits(model))


def test_trainable_adapter(adapter):
    """Of an adapter that is trained on only the adapter has gradients, in float32."""
    model = load.load_model(adapter, dtype=torch.bfloat16, trainable=True)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    types = {weight.dtype for weight in model.parameters() if weight.requires_grad}
    assert types == {torch.float32}


def test_merged_adapter(adapter):
    """A merged adapter is a plain model with the same answers."""
    whole = load.load_model(adapter, dtype=torch.float32, merge=True)
    assert not isinstance(whole, PeftModel)
    assert not any("lora" in name for name, _ in whole.named_modules())
    apart = load.load_model(adapter, dtype=torch.float32)
    torch.testing.assert_close(logits(whole), logits(apart), atol=1e-5, rtol=1e-4)


def test_merge_rounds_once(adapter):
    """In bfloat16 the merged weights are the float32 sum rounded, not a sum of rounded parts."""
    exact = load.load_model(adapter, dtype=torch.float32, merge=True)
    short = load.load_model(adapter, dtype=torch.bfloat16, merge=True)
    for name, weight in exact.named_parameters():
        assert torch.equal(short.get_parameter(name), weight.to(torch.bfloat16)), name


def test_merge_without_adapter(tiny_model_dir):
    """Merging where there is no adapter is the plain model in the type asked for."""
    model = load.load_model(tiny_model_dir, dtype=torch.bfloat16, merge=True)
    assert model.dtype == torch.bfloat16


def test_merged_adapter_trains_every_weight(adapter):
    """Folded into the weights, an adapter leaves a plain model of which every weight is trained."""
    model = load.load_model(adapter, dtype=torch.float32, merge=True, trainable=True)
    assert not isinstance(model, PeftModel)
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())


def test_skeleton(tiny_model_dir):
    """A skeleton has the layers of the model and no values."""
    skeleton = load.load_skeleton(tiny_model_dir)
    whole = load.load_model(tiny_model_dir, dtype=torch.float32)
    assert [n for n, _ in skeleton.named_modules()] == [n for n, _ in whole.named_modules()]
    assert all(weight.is_meta for weight in skeleton.parameters())


def test_adapter_on_adapter(adapter):
    """An adapter needs a whole model below it."""
    with pytest.raises(UserError, match="is an adapter itself"):
        load.load_model(adapter, dtype=torch.float32, adapter=adapter)


def test_adapter_whose_base_is_gone(adapter):
    """The missing base is named with the adapter that wants it."""
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"base_model_name_or_path": "../gone/away"}))
    with pytest.raises(ModelFault, match=r"base model of the adapter .*gone/away does not exist"):
        load.load_model(adapter, dtype=torch.float32)


def test_adapter_that_lacks_weights(adapter):
    """An adapter of which layers are missing is refused instead of filled with zeros."""
    from safetensors.torch import load_file, save_file

    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    del weights[sorted(weights)[0]]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelFault, match="missing adapter keys"):
        load.load_model(adapter, dtype=torch.float32)


def test_adapter_of_another_shape(adapter, folder):
    """An adapter for a larger model is refused in one line."""
    config = json.loads((folder / "config.json").read_text())
    from transformers import LlamaConfig, LlamaForCausalLM

    LlamaForCausalLM(LlamaConfig(**config | {"hidden_size": 32})).save_pretrained(folder)
    with pytest.raises(ModelFault, match="cannot be loaded") as caught:
        load.load_model(folder, dtype=torch.float32, adapter=adapter)
    assert "\n" not in str(caught.value)


def test_folder_without_config(folder):
    """A folder without config.json is no complete model."""
    (folder / "config.json").unlink()
    with pytest.raises(ModelFault, match=r"config\.json is missing"):
        load.load_model(folder, dtype=torch.float32)


def test_truncated_weights(folder):
    """Weights that were cut short are told before they are loaded."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFault, match=r"model\.safetensors is damaged"):
        load.load_model(folder, dtype=torch.float32)


def test_pickled_weights(folder):
    """A pickle is not opened, whoever made it."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelFault, match="which can run any program"):
        load.load_model(folder, dtype=torch.float32)


def test_weights_that_lack(folder):
    """A model of which a part would stay random is refused."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["model.norm.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelFault, match=r"lacks 1 weights.*model\.norm\.weight.*at random"):
        load.load_model(folder, dtype=torch.float32)


def test_unknown_architecture(folder):
    """An architecture that transformers does not know is one line."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "nonesuch"}))
    with pytest.raises(ModelFault, match=r"cannot be loaded: .*nonesuch") as caught:
        load.load_model(folder, dtype=torch.float32)
    assert "\n" not in str(caught.value)


def test_code_of_the_model_is_not_run(folder, tmp_path, caplog):
    """Python that ships with a model runs only when it is told to, and then with a warning."""
    trace = tmp_path / "ran"
    (folder / "configuration_own.py").write_text(
        "from pathlib import Path\nfrom transformers import LlamaConfig\n"
        f"Path({str(trace)!r}).touch()\nclass OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
    )
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "configuration_own.OwnConfig"}
    path = folder / "config.json"
    path.write_text(json.dumps(config | {"model_type": "own", "auto_map": auto}))
    with pytest.raises(UserError, match=r"--set model\.trust_remote_code=true"):
        load.load_model(folder, dtype=torch.float32)
    assert not trace.exists()
    with pytest.raises(ModelFault):  # no class for the weights; the code itself has run
        load.load_model(folder, dtype=torch.float32, trust_remote_code=True)
    assert trace.exists()
    assert "running the Python code that ships with" in caplog.text


def test_tokenizer_of_an_adapter(adapter, tiny_model_dir):
    """A checkpoint has its own tokenizer; an adapter without one uses its base's."""
    text = "int main() { return 0; }"
    expected = load.load_tokenizer(tiny_model_dir)(text)["input_ids"]
    assert load.load_tokenizer(adapter)(text)["input_ids"] == expected
    for path in adapter.glob("token*"):
        path.unlink()
    assert load.load_tokenizer(adapter)(text)["input_ids"] == expected


def test_tokenizer_that_is_missing(folder):
    """A model's folder without a tokenizer is one line."""
    for path in folder.glob("token*"):
        path.unlink()
    with pytest.raises(ModelFault, match="cannot be loaded") as caught:
        load.load_tokenizer(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pad", ["<|im_end|>", None])
def test_padding_is_never_the_end(folder, pad):
    """A tokenizer that pads with its end token, or not at all, gets a padding token of its own."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"pad_token": pad}))
    tokenizer = load.load_tokenizer(folder)
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")


def test_device(monkeypatch):
    """`auto` takes the best device; what torch does not see is refused with what it sees."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert load.pick_device("auto") == load.pick_device("cpu") == CPU
    with pytest.raises(UserError, match=r"'cuda' is not available .*it sees: cpu\."):
        load.pick_device("cuda")
    for setting in ("gpu", "cuda:x", "", "cpu0"):
        with pytest.raises(UserError, match="unknown device"):
            load.pick_device(setting)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert load.pick_device("auto").type == "cuda"
    assert load.pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match="'cuda:2' is not available"):
        load.pick_device("cuda:2")


def test_dtype(monkeypatch):
    """bfloat16 is used where it is wanted and native, float32 elsewhere."""
    monkeypatch.setattr(load, "cpu_has_bf16", lambda: True)
    assert load.pick_dtype(True, CPU) == torch.bfloat16
    assert load.pick_dtype(False, CPU) == torch.float32
    monkeypatch.setattr(load, "cpu_has_bf16", lambda: False)
    assert load.pick_dtype(True, CPU) == torch.float32
    assert load.pick_dtype(True, torch.device("mps")) == torch.float32
    for native, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda native=native, **_: native)
        assert load.pick_dtype(True, torch.device("cuda")) == dtype


def test_no_bars(tiny_model_dir, capsys):
    """Loading draws nothing on the terminal."""
    load.load_model(tiny_model_dir, dtype=torch.float32)
    load.load_tokenizer(tiny_model_dir)
    assert capsys.readouterr() == ("", "")
