"""What a forward pass keeps is known beforehand, and decides about gradient checkpointing."""

import pytest
import torch

from halo_forge.config.sections import LoraSettings
from halo_forge.models import load
from halo_forge.models.lora import add_lora
from halo_forge.sft import memory
from halo_forge.sft.batches import heaviest_batch


def model(folder, attn="sdpa"):
    """The tiny model with adapters."""
    plain = load.load_model(folder, dtype=torch.float32, attn=attn, trainable=True)
    return add_lora(plain, LoraSettings(r=4, dropout=0.0), seed=0)


@pytest.mark.parametrize(("attn", "length"), [("sdpa", 700), ("eager", 700)])
def test_short_passes_tell_of_long_ones(tiny_model_dir, attn, length):
    """Two short passes tell within a few percent what one of hundreds of positions keeps."""
    trained = model(tiny_model_dir, attn)
    found = memory.weigh(trained, torch.float32)
    kept = memory._kept_bytes(trained, length, torch.float32)
    assert found.of([length]) == pytest.approx(kept, rel=0.05)
    assert (found.quadratic > 4) == (attn == "eager")
    assert found.of([length, length]) == pytest.approx(2 * kept, rel=0.05)


def test_only_what_is_not_a_weight_counts(tiny_model_dir):
    """The weights are there anyway: a pass over few positions keeps less than they weigh."""
    trained = model(tiny_model_dir)
    weights = sum(p.nbytes for p in trained.parameters())
    assert 0 < memory._kept_bytes(trained, 2, torch.float32) < weights / 4


@pytest.mark.parametrize(("free", "on"), [(10**6, True), (10**12, False)])
def test_checkpointing_where_memory_is_short(fit, seen, make_example, monkeypatch, free, on):
    """`auto` recomputes activations where they would not fit, and only there."""
    monkeypatch.setattr(memory, "free_memory", lambda *_: free)
    fit([make_example("a", 30, 300)], checkpointing="auto")
    assert seen.trainers[-1].args.gradient_checkpointing is on


def test_the_choice_is_told(fit, make_example):
    """A person reads how answers lie and what becomes of activations."""
    from halo_forge.tracking.base import NullObserver

    said = []

    class Listener(NullObserver):
        def message(self, text):
            said.append(text)

    fit([make_example("a", 3, 3)] * 2, batch_size=2, checkpointing="auto", observer=Listener())
    (words,) = said
    assert "end to end" in words
    assert "checkpointing off" in words
    assert "float32" in words


def test_heaviest_batch():
    """The longest answers may meet; padding makes all as long as the longest."""
    assert heaviest_batch([3, 9, 4, 1], 2, padded=False) == [9, 4]
    assert heaviest_batch([3, 9, 4, 1], 3, padded=True) == [9, 9, 9]
    assert heaviest_batch([3], 4, padded=True) == [3]
