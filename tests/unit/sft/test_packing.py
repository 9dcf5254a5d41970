"""Packed answers do not see each other, on models that keep them apart; others are found out."""

import pytest
import torch
import transformers
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from halo_forge.core.errors import ModelFault, UserError
from halo_forge.models.structure import backbone
from halo_forge.sft import packing, segments

SMALL = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WINDOW = {"sliding_window": 16, "head_dim": 8}
MODELS = {
    "Llama": {},
    "Qwen2": {},
    "Qwen3": {"head_dim": 8},
    "Mistral": {"sliding_window": 16},
    "Gemma3Text": WINDOW,
    "Olmo2": {},
    "Cohere2": {"sliding_window": 16},
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "Mixtral": {"num_local_experts": 4},
}
MIXING = {
    "Falcon": {},
    "Lfm2": {"layer_types": ["conv", "full_attention"]},
}


def make(kind: str, attn: str = "sdpa", **settings):
    """A small random model of an architecture."""
    config = getattr(transformers, f"{kind}Config")(**{**SMALL, **settings})
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attn)


def hidden(model, lengths):
    """Hidden states of random texts, packed and one by one."""
    numbers = torch.Generator().manual_seed(1)
    texts = [torch.randint(3, 120, (n,), generator=numbers).tolist() for n in lengths]
    batch = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)(
        [{"input_ids": text} for text in texts]
    )
    del batch["labels"]
    run = backbone(model.eval())
    with torch.no_grad():
        packed = run(**packing.with_segments(batch), use_cache=False).last_hidden_state
        alone = [run(input_ids=torch.tensor([t])).last_hidden_state for t in texts]
    return packed, torch.cat(alone, dim=1)


@pytest.mark.parametrize("kind", MODELS)
def test_as_alone(kind):
    """Texts longer than a sliding window too have the hidden states they have by themselves."""
    model = make(kind, **MODELS[kind])
    assert packing.choose_packing(model, "auto", "sdpa").packed
    packed, _ = hidden(model, [5, 40, 1, 33])
    model.set_attn_implementation("sdpa")
    _, alone = hidden(model, [5, 40, 1, 33])
    assert torch.allclose(packed, alone, atol=1e-5)


@pytest.mark.parametrize("kind", MIXING)
def test_models_that_mix_answers_are_found_out(kind):
    """What knows nothing of bounds is trained in groups of like length, and one is told."""
    model = make(kind, **MIXING[kind])
    found = packing.choose_packing(model, "auto", "sdpa")
    assert not found.packed
    assert "does not keep them apart" in found.words
    with pytest.raises(UserError, match=r"training\.packing is on"):
        packing.choose_packing(model, "on", "sdpa")


@pytest.mark.parametrize("fault", ["bounds", "positions"])
def test_the_trial_can_fail(monkeypatch, fault):
    """Bounds that are ignored, or positions that go on, are noticed."""
    if fault == "bounds":
        monkeypatch.setattr(packing, "with_segments", dict)
    else:
        collate = DataCollatorForLanguageModeling.torch_call

        def running_on(self, examples):
            batch = collate(self, examples)
            batch["position_ids"] = torch.arange(batch["input_ids"].shape[1])[None]
            return batch

        monkeypatch.setattr(DataCollatorForLanguageModeling, "torch_call", running_on)
    model = make("GPT2", **MODELS["GPT2"])
    assert not packing.choose_packing(model, "auto", "sdpa").packed
    assert model.config._attn_implementation == "sdpa"


def test_training_mode_and_attention_are_left(monkeypatch):
    """A model that is not packed is as it was."""
    model = make("Llama").train()
    assert not packing.choose_packing(model, "off", "sdpa").packed
    assert not packing.choose_packing(make("Llama", "eager"), "auto", "eager").packed
    assert packing.choose_packing(model, "on", "sdpa").packed
    assert model.training
    assert model.config._attn_implementation == segments.SEGMENT_ATTENTION


@pytest.mark.parametrize("term", ["softcap", "s_aux", "position_bias"])
def test_terms_that_are_not_computed_are_refused(term):
    """Attention with a further term is an error, and not wrong figures."""
    q = torch.zeros(1, 2, 3, 4)
    with pytest.raises(ModelFault, match=term):
        segments.segment_attention(torch.nn.Module(), q, q, q, None, **{term: 1.0})
