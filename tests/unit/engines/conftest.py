"""What the engines' tests share: models whose answers depend on the whole past, and prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import transformers

from halo_forge.config.sections import GenerationSettings, HardwareSettings, LoraSettings
from halo_forge.core.types import Message, Prompt, Sample
from halo_forge.engines.base import EngineSpec
from halo_forge.engines.decoder import DecoderEngine
from halo_forge.models import load, lora
from halo_forge.models.checkpoint import save_checkpoint

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    # Ten times the usual spread: with it the next token depends on the whole past, and not on
    # the last token alone, so that a wrong mask or position shows.
    "initializer_range": 0.2,
}

Decode = Callable[..., dict[str, Sample]]


def prompt(name: str, text: str) -> Prompt:
    """A prompt of one user message."""
    return Prompt(name, (Message("user", text),))


PROMPTS = (
    prompt("short", "print"),
    prompt("middle", "print the sum of the numbers from 1 to n"),
    prompt("long", "the program reads a line and prints it backwards; " * 4),
)


def spec(policy: Path | str, *, bf16: bool = False, **generation: object) -> EngineSpec:
    """How a model is opened on the CPU."""
    return EngineSpec(
        policy=str(policy),
        generation=GenerationSettings(**generation),
        hardware=HardwareSettings(device="cpu", bf16=bf16),
        label="here",
    )


@pytest.fixture(scope="session")
def prompts() -> tuple[Prompt, ...]:
    """Three prompts of very different lengths."""
    return PROMPTS


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., EngineSpec]:
    """Say how a model is opened on the CPU."""
    return spec


@pytest.fixture(scope="session")
def decode() -> Decode:
    """Open the decoder, generate, and return the samples by id; a repeated id is an error."""

    def run(policy, owed, seed=1, *, bf16=False, **generation):
        found: dict[str, Sample] = {}
        with DecoderEngine(spec(policy, bf16=bf16, **generation)) as engine:
            for sample in engine.generate(owed, seed):
                assert sample.id not in found
                found[sample.id] = sample
        assert sorted(found) == sorted(f"{r.prompt.id}#{i}" for r in owed for i in r.indices)
        return found

    return run


@pytest.fixture(scope="session")
def make_model(tiny_model_dir, tmp_path_factory) -> Callable[..., Path]:
    """Save a random model of a configuration with the tiny model's tokenizer."""
    tokenizer = load.load_tokenizer(tiny_model_dir)
    tokens = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }

    def make(kind: str, **settings: object) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        config = getattr(transformers, f"{kind}Config")(**tokens, **settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = transformers.AutoModelForCausalLM.from_config(config)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def lively_dir(make_model) -> Path:
    """A random Llama whose greedy answers wander instead of repeating one token."""
    return make_model("Llama", **SMALL, num_key_value_heads=2, max_position_embeddings=2048)


@pytest.fixture(scope="session")
def adapter_dir(lively_dir, tmp_path_factory) -> Path:
    """A checkpoint with an adapter that changes the answers."""
    model = load.load_model(lively_dir, dtype=torch.float32)
    model = lora.add_lora(model, LoraSettings(r=4), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1, generator=generator)
    folder = tmp_path_factory.mktemp("run") / "cycle_1_final"
    return save_checkpoint(model, load.load_tokenizer(lively_dir), folder, lively_dir, {})


def _forced(policy, samples, temperature, dtype=torch.float32) -> torch.Tensor:
    model = load.load_model(policy, dtype=dtype)
    figures = []
    with torch.inference_mode():
        for sample in samples:
            ids = torch.tensor([sample.prompt_ids + sample.token_ids])
            logits = model(input_ids=ids).logits[0, len(sample.prompt_ids) - 1 : -1]
            wide = logits.double() if dtype == torch.float64 else logits.float()
            whole = torch.log_softmax(wide / (temperature or 1.0), dim=-1)
            figures.append(whole.gather(1, torch.tensor(sample.token_ids)[:, None])[:, 0])
    return torch.cat(figures).double()


def _stored(samples) -> torch.Tensor:
    return torch.tensor([figure for s in samples for figure in s.logprobs], dtype=torch.float64)


def _forced_error(policy, samples, temperature, dtype=torch.float32) -> torch.Tensor:
    return (_forced(policy, samples, temperature, dtype) - _stored(samples)).abs()


@pytest.fixture(scope="session")
def forced() -> Callable[..., torch.Tensor]:
    """Log-probabilities of the answers' tokens by one full forward pass over prompt and answer."""
    return _forced


@pytest.fixture(scope="session")
def forced_error() -> Callable[..., torch.Tensor]:
    """Distances of stored log-probabilities from those of a full forward pass."""
    return _forced_error


def _greedy(policy, prompt_ids: Sequence[int], tokens: int) -> list[int]:
    model = load.load_model(policy, dtype=torch.float32)
    ids = torch.tensor([prompt_ids])
    with torch.inference_mode():
        whole = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens
        )
    return whole[0, len(prompt_ids) :].tolist()


@pytest.fixture(scope="session")
def greedy() -> Callable[..., list[int]]:
    """The answer of `model.generate` without sampling, in float32."""
    return _greedy
