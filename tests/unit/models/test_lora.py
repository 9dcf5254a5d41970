"""Adapters: what they leave alone, what they refuse, and the copy without them."""

import pytest
import torch

from halo_forge.config.sections import LoraSettings
from halo_forge.core.errors import UserError
from halo_forge.models import load, lora

IDS = torch.arange(3, 19).reshape(2, 8)


def fresh(tiny_model_dir, **settings):
    """A tiny model with fresh adapters."""
    model = load.load_model(tiny_model_dir, dtype=torch.float32, trainable=True)
    seed = settings.pop("seed", 0)
    return lora.add_lora(model, LoraSettings(**settings), seed=seed)


def logits(model):
    """What a model answers without dropout."""
    model.eval()
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def test_fresh_adapter_changes_nothing(tiny_model_dir):
    """Before training the answers are those of the base, and only adapters have gradients."""
    base = load.load_model(tiny_model_dir, dtype=torch.float32)
    model = fresh(tiny_model_dir, r=4)
    assert torch.equal(logits(model), logits(base))
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * 2 * 7  # A and B, layers, projections
    assert all("lora_" in name for name in trained)


def test_seed_decides_and_stays_inside(tiny_model_dir):
    """The same seed gives the same adapters, and the global random state is left alone."""
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (fresh(tiny_model_dir, r=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    name = next(name for name, _ in one.named_parameters() if "lora_A" in name)
    assert torch.equal(one.get_parameter(name), same.get_parameter(name))
    assert not torch.equal(one.get_parameter(name), other.get_parameter(name))


def test_layers_that_are_not_there(tiny_model_dir):
    """Names the architecture lacks are refused with the names it has, the output layer aside."""
    with pytest.raises(UserError) as caught:
        fresh(tiny_model_dir, target_modules=("q_proj", "qkv_proj"))
    assert str(caught.value) == (
        "lora.target_modules: LlamaForCausalLM has no linear layer called qkv_proj. "
        "It has: down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj."
    )


def test_merged_copy(tiny_model_dir):
    """The copy answers like model and adapter together, and the original keeps its adapter."""
    model = fresh(tiny_model_dir, r=4)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.05)
    expected = logits(model)
    copy = lora.merged_copy(model, torch.float32)
    torch.testing.assert_close(logits(copy), expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(logits(model), expected)
    assert not any("lora" in name for name, _ in copy.named_modules())
    narrow = lora.merged_copy(model, torch.bfloat16)
    assert {weight.dtype for weight in narrow.parameters()} == {torch.bfloat16}
    # as when a model is loaded in bfloat16: rotary frequencies must not be rounded
    loaded = load.load_model(tiny_model_dir, dtype=torch.bfloat16)
    assert [b.dtype for b in narrow.buffers()] == [b.dtype for b in loaded.buffers()]
    assert all(map(torch.equal, narrow.buffers(), loaded.buffers()))
