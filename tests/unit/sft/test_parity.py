"""Packed answers without logits train as padded ones with all their logits do."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from halo_forge.config.sections import LoraSettings
from halo_forge.models import load
from halo_forge.models.lora import add_lora
from halo_forge.models.weights import ADAPTER_WEIGHTS, WEIGHTS

PLAIN = LoraSettings(r=4, dropout=0.0)
ALL_WEIGHTS = LoraSettings(enabled=False)
STEPS, RATE, WIDTH = 4, 1e-3, 96


def padded(examples):
    """Ids, mask and labels of all answers, each padded to the same width, as most people do."""
    ids, mask, labels = (torch.full((len(examples), WIDTH), v) for v in (1, 0, -100))
    for row, example in enumerate(examples):
        length = len(example.input_ids)
        ids[row, :length] = torch.tensor(example.input_ids)
        labels[row, :length] = torch.tensor(example.labels)
        mask[row, :length] = 1
    return ids, mask, labels


def reference(policy, examples, lora, seed):
    """Train by hand; return losses, the first gradients and the trained weights, by name."""
    model = load.load_model(policy, dtype=torch.float32, trainable=True)
    if lora.enabled:
        model = add_lora(model, lora, seed=seed)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=RATE, weight_decay=0.0)
    ids, mask, labels = padded(examples)
    losses, first = [], {}
    for _ in range(STEPS):
        logits = model(input_ids=ids, attention_mask=mask).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        first = first or {n: p.grad.clone() for n, p in trained.items()}
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, first, {n: p.detach() for n, p in trained.items()}


@pytest.mark.parametrize("packing", ["on", "off"])
@pytest.mark.parametrize(("lora", "file"), [(PLAIN, ADAPTER_WEIGHTS), (ALL_WEIGHTS, WEIGHTS)])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_as_padded_with_full_logits(
    fit, seen, make_example, tmp_path, tiny_model_dir, packing, lora, file, accumulation
):
    """Losses, gradients and weights agree with a plain loop over steps of all answers."""
    examples = [make_example(n, 5 + 3 * i, 4 + 9 * i) for i, n in enumerate("abcdef")]
    fit(
        examples,
        batch_size=len(examples) // accumulation,
        gradient_accumulation_steps=accumulation,
        epochs=STEPS,
        rate=RATE,
        lora=lora,
        lr_scheduler="constant",
        packing=packing,
    )
    losses, first, weights = reference(tiny_model_dir, examples, lora, seed=3)
    assert seen.losses == pytest.approx(losses, abs=1e-5)
    assert seen.pulls[0].keys() == first.keys()
    for name, gradient in first.items():
        assert torch.allclose(seen.pulls[0][name], gradient, rtol=1e-3, atol=1e-6), name
    from safetensors.torch import load_file

    found = load_file(tmp_path / "out" / file)
    assert len(found) == len(weights)
    for name, weight in weights.items():
        # Adam's first steps are as long for a tiny gradient as for a large one: rounding shows.
        off = (found[name.replace(".default", "")] - weight).abs()
        assert off.mean() < 0.01 * RATE * STEPS, name
        assert off.max() < RATE * STEPS, name


def test_the_reference_tells_a_neighbour(make_example, tiny_model_dir, fit, seen, monkeypatch):
    """Were packed answers to see each other, the test above would fail."""
    from halo_forge.sft import completion_trainer, learner, packing

    monkeypatch.setattr(completion_trainer, "with_segments", dict)
    monkeypatch.setattr(
        learner, "choose_packing", lambda model, *_: packing.choose_packing(model, "auto", "sdpa")
    )
    examples = [make_example(n, 5 + 3 * i, 4 + 9 * i) for i, n in enumerate("abcdef")]
    fit(examples, batch_size=6, packing="on")
    losses, _, _ = reference(tiny_model_dir, examples, PLAIN, seed=3)
    assert abs(seen.losses[0] - losses[0]) > 1e-4
