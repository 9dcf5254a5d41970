"""Models whose logits are more than the output layer's are scored by all that they are."""

import pytest
import torch
import transformers

from halo_forge.models import load
from halo_forge.sft import completion_trainer

KINDS = {
    "Llama": ({}, True),
    "Qwen2": ({}, True),
    "Granite": ({"logits_scaling": 8.0}, False),
    "Cohere2": ({"logit_scale": 0.25}, False),
    "Gemma3Text": ({"final_logit_softcapping": 3.0, "head_dim": 16}, False),
}


@pytest.fixture
def policy(tmp_path, tiny_model_dir):
    """Write a small random model of an architecture, with the tiny model's tokenizer."""

    def write(kind: str, **settings):
        tokenizer = load.load_tokenizer(tiny_model_dir)
        config = getattr(transformers, f"{kind}Config")(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            initializer_range=0.3,
            **settings,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = transformers.AutoModelForCausalLM.from_config(config)
        model.save_pretrained(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_that_of_the_models_own_logits(fit, seen, make_example, policy, kind):
    """Scales and bounds after the output layer are in the loss, whoever computes it."""
    settings, linear = KINDS[kind]
    folder = policy(kind, **settings)
    examples = [make_example("a", 7, 14), make_example("b", 3, 22)]
    from halo_forge.config.sections import LoraSettings

    fit(examples, policy=folder, batch_size=2, lora=LoraSettings(enabled=False))
    model = load.load_model(folder, dtype=torch.float32)
    total, count = 0.0, 0
    with torch.inference_mode():
        for example in examples:
            ids = torch.tensor([example.input_ids])
            scores = torch.log_softmax(model(input_ids=ids).logits[0].double(), dim=-1)
            for at in range(example.completion_start, ids.shape[1]):
                total -= scores[at - 1, ids[0, at]].item()
                count += 1
    assert seen.losses[0] == pytest.approx(total / count, abs=1e-4)
    assert seen.trainers[-1]._chunked is linear


def test_experts_keep_their_balance(fit, make_example, policy, seen):
    """A mixture of experts is trained with its load-balancing loss."""
    folder = policy("Mixtral", num_local_experts=4, output_router_logits=True)
    from halo_forge.config.sections import LoraSettings

    fit([make_example("a", 7, 14)], policy=folder, lora=LoraSettings(enabled=False))
    assert not seen.trainers[-1]._chunked
    assert any("aux_loss" in row for row in seen.trainers[-1].state.log_history)


def test_the_check_of_the_output_layer_can_fail(tiny_model_dir):
    """A model whose forward pass does more than its output layer is told from one that does not."""
    model = load.load_model(tiny_model_dir, dtype=torch.float32)
    assert completion_trainer._head_is_linear(model)
    forward = model.forward

    def doubled(*args, **kwargs):
        output = forward(*args, **kwargs)
        output.logits = output.logits * 2
        return output

    model.forward = doubled
    assert not completion_trainer._head_is_linear(model)
