"""The learner on a tiny model: what reaches the model, what carries loss, what is written."""

import random

import numpy as np
import pytest
import torch
from peft import PeftModel

from halo_forge.config.raft import TrainingSettings
from halo_forge.config.sections import LoraSettings
from halo_forge.core.errors import UserError
from halo_forge.models import checkpoint, load
from halo_forge.models.weights import ADAPTER_WEIGHTS, WEIGHTS
from halo_forge.sft import learner
from halo_forge.sft.batches import optimizer_steps
from halo_forge.tracking.base import NullObserver

PLAIN = LoraSettings(r=4, dropout=0.0)
ALL_WEIGHTS = LoraSettings(enabled=False)


def tensors(folder, name=ADAPTER_WEIGHTS):
    """The weights of a checkpoint."""
    from safetensors.torch import load_file

    return load_file(folder / name)


def rows(batch):
    """The answers of a batch, packed or padded: (ids, labels) each."""
    if "cu_seq_lens_q" in batch:
        lengths = batch["cu_seq_lens_q"].diff().tolist()
        parts = (batch[name][0].split(lengths) for name in ("input_ids", "labels"))
        return [(tuple(ids.tolist()), labels.tolist()) for ids, labels in zip(*parts, strict=True)]
    real = batch["attention_mask"].bool()
    return [
        (tuple(ids[mask].tolist()), labels[mask].tolist())
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], real, strict=True)
    ]


def reference_loss(policy, examples) -> float:
    """Mean cross-entropy over all completion tokens, by hand in float64."""
    model = load.load_model(policy, dtype=torch.float64)
    total, count = 0.0, 0
    with torch.inference_mode():
        for example in examples:
            ids = torch.tensor([example.input_ids])
            figures = torch.log_softmax(model(input_ids=ids).logits[0], dim=-1)
            for position in range(example.completion_start, ids.shape[1]):
                total -= float(figures[position - 1, ids[0, position]])
                count += 1
    return total / count


@pytest.mark.parametrize("packing", ["auto", "off"])
def test_only_the_completion_carries_loss(fit, seen, make_example, packing):
    """Labels are -100 on the prompt and the padding, and the end token has its own."""
    examples = [make_example("a", 7, 4), make_example("b", 3, 12), make_example("c", 11, 1)]
    fit(examples, batch_size=3, packing=packing)
    (batch,) = seen.batches
    if packing == "off":
        assert batch["input_ids"].shape == (3, 16)
        padding = ~batch["attention_mask"].bool()
        assert padding.sum() == 4 + 0 + 3
        assert (batch["labels"][padding] == -100).all()
    else:
        assert batch["input_ids"].shape == (1, 12 + 16 + 13)
    found = dict(rows(batch))
    for example in examples:
        labels = found[example.input_ids]
        assert labels[: example.completion_start] == [-100] * example.completion_start
        assert labels[example.completion_start :] == list(
            example.input_ids[example.completion_start :]
        )
        assert labels[-1] == 2


@pytest.mark.parametrize("packing", ["auto", "off"])
@pytest.mark.parametrize("lora", [PLAIN, ALL_WEIGHTS])
def test_gradients_come_from_the_completion(fit, seen, make_example, lora, packing):
    """The loss pulls at the positions that predict completion tokens, and at no other."""
    examples = [make_example("a", 7, 4), make_example("b", 3, 12)]
    fit(examples, batch_size=2, lora=lora, packing=packing)
    (batch,), (gradient,) = seen.batches, seen.gradients
    pulled = gradient.abs().sum(dim=-1) > 0
    predicts = torch.zeros_like(pulled)
    predicts[:, :-1] = batch["labels"][:, 1:] != -100
    assert torch.equal(pulled, predicts)
    assert pulled.sum() == 5 + 13


def test_first_loss_is_the_mean_over_completion_tokens(fit, seen, make_example, tiny_model_dir):
    """The first logged loss is the hand-made mean, over two batches of one step."""
    examples = [make_example(name, 5 + i, 3 + 6 * i) for i, name in enumerate("abcd")]
    report = fit(examples, batch_size=2, gradient_accumulation_steps=2)
    expected = reference_loss(tiny_model_dir, examples)
    assert seen.losses == pytest.approx([expected], abs=2e-5)
    assert report.loss == seen.losses[0]
    assert report.steps == 1
    assert report.tokens == 4 + 10 + 16 + 22
    assert report.grad_norm > 0
    assert 4 < report.entropy < np.log(300) + 1e-6
    whole = [e.__class__(e.id, e.input_ids, completion_start=1) for e in examples]
    assert abs(reference_loss(tiny_model_dir, whole) - expected) > 1e-3  # the prompt would show


def test_tokens_arrive_unchanged(fit, seen, make_example):
    """No template, no cut at 1,024 tokens, no second end token, no row dropped or made up."""
    examples = [
        make_example("long", 40, 1460),
        make_example("short", 1, 0),
        make_example("twice", 5, 5),
    ]
    fit(examples, batch_size=1, epochs=2)
    found = [row for batch in seen.batches for row in rows(batch)]
    assert sorted(found) == sorted((e.input_ids, e.labels) for e in examples for _ in range(2))


@pytest.mark.parametrize(("lora", "rate", "fall"), [(PLAIN, 2e-2, 0.3), (ALL_WEIGHTS, 1e-2, 2.0)])
def test_loss_falls(fit, seen, make_example, lora, rate, fall):
    """Twenty steps on one answer make it likelier."""
    report = fit(
        [make_example("a", 10, 20)], epochs=20, rate=rate, lora=lora, lr_scheduler="constant"
    )
    assert report.steps == 20
    assert seen.losses[0] > 5
    assert seen.losses[-1] < seen.losses[0] - fall


def test_checkpointing_changes_nothing(fit, seen, make_example, tmp_path):
    """Recomputing activations, dropout's too, trains the adapter that keeping them does."""
    examples = [make_example("a", 10, 20), make_example("b", 3, 40)]
    for way in (True, False):
        dropped = LoraSettings(r=4, dropout=0.3)
        output = tmp_path / f"checkpointing {way}"
        fit(examples, output=output, checkpointing=way, batch_size=2, epochs=2, lora=dropped)
        assert seen.losses[1] < seen.losses[0]
    again, kept = (tensors(tmp_path / f"checkpointing {way}") for way in (True, False))
    assert len([key for key in kept if "lora_B" in key]) == 14
    assert all(weight.abs().max() > 0 for weight in kept.values())
    assert all(torch.allclose(kept[key], again[key], atol=1e-6) for key in kept)


@pytest.mark.parametrize(("lora", "below"), [(PLAIN, torch.bfloat16), (ALL_WEIGHTS, torch.float32)])
def test_bfloat16_below_float32_masters(
    fit, seen, make_example, tiny_model_dir, monkeypatch, lora, below
):
    """Where the processor computes in bfloat16, products do, and what is trained is float32."""
    monkeypatch.setattr(load, "cpu_has_bf16", lambda: True)
    examples = [make_example("a", 10, 20), make_example("b", 4, 30)]
    fit(examples, batch_size=2, bf16=True, lora=lora)
    weights = dict(seen.trainers[-1].model.named_parameters())
    assert {w.dtype for w in weights.values() if w.requires_grad} == {torch.float32}
    assert {w.dtype for n, w in weights.items() if "lora" not in n} == {below}
    expected = reference_loss(tiny_model_dir, examples)
    assert 0 < abs(seen.losses[0] - expected) < 0.01


SIZES = [(1, 2, 16, 1), (5, 2, 2, 1), (8, 2, 2, 3), (9, 3, 2, 2)]


@pytest.mark.parametrize(("examples", "batch", "accumulation", "epochs"), SIZES)
def test_steps_are_those_of_the_arithmetic(
    fit, make_example, examples, batch, accumulation, epochs
):
    """What the schedule is laid out for is what the trainer does, and what the observer hears."""

    class Counter(NullObserver):
        total: int | None = None
        done = 0

        def stage(self, name, total, done=0, unit=""):
            self.total = total
            return super().stage(name, total, done, unit)

        def advance(self, n=1, **info):
            self.done += n

    counter = Counter()
    sizes = {
        "batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "epochs": epochs,
    }
    report = fit([make_example(str(i), 3, 3) for i in range(examples)], observer=counter, **sizes)
    assert report.steps == optimizer_steps(examples, TrainingSettings(**sizes))
    assert counter.total == counter.done == report.steps


def test_every_step_has_a_learning_rate(fit, seen, make_example):
    """The default warm-up costs a short cycle nothing: the first step is at the full rate."""
    fit([make_example(str(i), 3, 3) for i in range(4)], batch_size=1, rate=1e-3)
    assert seen.rates == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])


def test_a_single_step_is_at_the_full_rate(fit, seen, make_example, tmp_path):
    """A cycle of one step learns, also with the longest warm-up that can be asked for."""
    fit([make_example("a", 3, 3)], rate=1e-3, warmup_ratio=0.99, lr_scheduler="cosine")
    assert seen.rates == [1e-3]
    assert any(v.abs().max() > 0 for k, v in tensors(tmp_path / "out").items() if "lora_B" in k)


def test_second_phase_goes_on(fit, make_example, tmp_path, tiny_model_dir, seen):
    """The next cycle trains the adapter it is given, on the base that adapter has."""
    examples = [make_example("a", 4, 8)]
    first, second = tmp_path / "cycle_1_final", tmp_path / "cycle_2_final"
    base = tensors(tiny_model_dir, WEIGHTS)
    fit(examples, output=first, epochs=4, rate=1e-2)
    fit(examples, output=second, policy=first, epochs=1, rate=1e-2)
    assert seen.losses[0] == pytest.approx(reference_loss(first, examples), abs=2e-5)
    one, two = tensors(first), tensors(second)
    assert one.keys() == two.keys()
    assert all(not torch.equal(one[key], two[key]) for key in one)
    assert checkpoint.read_manifest(second)["base"] == checkpoint.read_manifest(first)["base"]
    assert not list(second.glob("model*.safetensors"))
    after = tensors(tiny_model_dir, WEIGHTS)
    assert all(torch.equal(base[key], after[key]) for key in base)
    assert isinstance(load.load_model(second, dtype=torch.float32), PeftModel)


def test_all_weights(fit, make_example, tmp_path, tiny_model_dir, seen):
    """Without adapters a whole model is written that loads and answers better."""
    examples = [make_example("a", 4, 8)]
    fit(examples, lora=ALL_WEIGHTS, epochs=6, rate=1e-2)
    model = load.load_model(tmp_path / "out", dtype=torch.float32)
    assert not isinstance(model, PeftModel)
    before, after = tensors(tiny_model_dir, WEIGHTS), tensors(tmp_path / "out", WEIGHTS)
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[key], after[key]) for key in before)
    was = reference_loss(tiny_model_dir, examples)
    assert reference_loss(tmp_path / "out", examples) < was - 0.5
    assert load.load_tokenizer(tmp_path / "out").eos_token_id == 2


def test_all_weights_after_an_adapter(fit, make_example, tmp_path, seen):
    """Without adapters, a policy that is one goes into the weights, which are then trained."""
    examples = [make_example("a", 4, 8)]
    first, second = tmp_path / "cycle_1_final", tmp_path / "cycle_2_final"
    fit(examples, output=first, epochs=4, rate=1e-2)
    fit(examples, output=second, policy=first, lora=ALL_WEIGHTS, epochs=6, rate=1e-2)
    assert seen.losses[0] == pytest.approx(reference_loss(first, examples), abs=2e-5)
    assert not isinstance(load.load_model(second, dtype=torch.float32), PeftModel)
    assert reference_loss(second, examples) < seen.losses[0] - 0.5


def test_layers_are_checked_without_training(fit, make_example, tmp_path, tiny_model_dir):
    """A layer name the model lacks is found by its name, where adapters will be put on."""
    wrong = LoraSettings(target_modules=("qkv_proj",))
    check = learner.TrlLearner().check
    with pytest.raises(UserError, match="no linear layer called qkv_proj"):
        check(str(tiny_model_dir), wrong, trust_remote_code=False)
    check(str(tiny_model_dir), PLAIN, trust_remote_code=False)
    fit([make_example("a", 4, 8)])
    check(str(tmp_path / "out"), wrong, trust_remote_code=False)


def test_the_same_seed_gives_the_same_adapter(fit, make_example, tmp_path):
    """Seed and data decide the adapter, dropout and order included, whatever went before."""
    examples = [make_example(str(i), 3 + i, 5 + i) for i in range(6)]
    settings = {"batch_size": 2, "epochs": 2, "lora": LoraSettings(r=4, dropout=0.3)}
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        torch.rand(7)
        fit(examples, output=tmp_path / name, seed=seed, **settings)
    one, same, other = (tensors(tmp_path / name) for name in ("one", "same", "other"))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in one)


def test_the_seed_reaches_order_and_dropout(fit, make_example, tmp_path):
    """From the same adapter too, the same seed trains the same way and another one differently."""
    examples = [make_example(str(i), 3 + i, 5 + i) for i in range(6)]
    first = tmp_path / "first"
    fit(examples, output=first, lora=LoraSettings(r=4, dropout=0.3))
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        fit(examples, policy=first, output=tmp_path / name, seed=seed)
    one, same, other = (tensors(tmp_path / name) for name in ("one", "same", "other"))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in one)


def test_large_seeds(fit, make_example):
    """Derived seeds have 63 bits; the libraries take 32."""
    assert fit([make_example("a", 3, 3)], seed=2**63 - 1).steps == 1


def test_the_callers_random_state_is_left_alone(fit, make_example):
    """Whoever draws numbers around a training phase draws what he would have drawn without it."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    fit([make_example("a", 3, 3)])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_leaves_nothing(fit, make_example, tmp_path, error):
    """A phase that dies at its third step leaves no folder that could be taken for a result."""

    class Dying(NullObserver):
        steps = 0

        def advance(self, n=1, **info):
            self.steps += n
            if self.steps == 3:
                raise error("enough")

    dying = Dying()
    with pytest.raises(error, match="enough"):
        fit([make_example("a", 3, 3)], epochs=9, observer=dying)
    assert dying.steps == 3
    assert list(tmp_path.iterdir()) == []


def test_a_kill_while_writing_leaves_nothing(fit, make_example, tmp_path, monkeypatch):
    """A phase that dies while the checkpoint is written leaves no folder of its name."""

    def die(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_file", die)
    with pytest.raises(KeyboardInterrupt):
        fit([make_example("a", 3, 3)])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_beside_the_checkpoint(fit, make_example, tmp_path, monkeypatch, capsys):
    """The trainer's own folder is temporary, and the libraries print nothing."""
    monkeypatch.setattr(learner.tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    fit([make_example("a", 3, 3)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "scratch"]
    assert list((tmp_path / "scratch").iterdir()) == []
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert checkpoint.read_manifest(tmp_path / "out")["meta"] == {"cycle": 1}
