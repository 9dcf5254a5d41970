"""The algorithms on a tiny model: which way tokens are pulled, and which are let be."""

from dataclasses import replace

import pytest
import torch

from halo_forge.config.sections import LoraSettings
from halo_forge.models import load
from halo_forge.models.weights import ADAPTER_WEIGHTS
from halo_forge.sft import completion_trainer
from halo_forge.sft.base import Objective

RATIO = Objective(ratio=True, clip_low=0.2, clip_high=0.2, kl_coef=0.0)
UNBOUND = 1e3  # the norm that gradients are cut to, so far off that none is
PLAIN = Objective(ratio=False, clip_low=0.2, clip_high=0.2, kl_coef=0.0)


def likelihoods(policy, example, temperature=1.0):
    """Log-likelihood of each completion token, teacher-forced, from all logits."""
    model = load.load_model(policy, dtype=torch.float32, trainable=False)
    ids = torch.tensor([example.input_ids])
    with torch.inference_mode():
        scores = torch.log_softmax(model(input_ids=ids).logits[0] / temperature, dim=-1)
    at = torch.arange(example.completion_start, ids.shape[1])
    return scores[at - 1, ids[0, at]]


@pytest.fixture
def answers(make_example, tiny_model_dir):
    """Make answers that are as likely as when they were sampled, or ``gap`` nats likelier now."""

    def make(gap=0.0, temperature=1.0, weights=(1.0, 1.0)):
        made = []
        for name, size, weight in zip("ab", (9, 15), weights, strict=True):
            one = make_example(name, 5, size)
            then = likelihoods(tiny_model_dir, one, temperature) - gap
            made.append(replace(one, logprobs=tuple(then.tolist()), weight=weight))
        return made

    return make


def adapter(folder):
    """The weights of a checkpoint's adapter."""
    from safetensors.torch import load_file

    return load_file(folder / ADAPTER_WEIGHTS)


def test_raft_plus_plus_at_a_ratio_of_one_has_rafts_gradient(fit, seen, answers, tmp_path):
    """The first step is pulled as RAFT's is, in every weight; the loss itself is another figure."""
    free = {"batch_size": 2, "max_grad_norm": UNBOUND}
    plain = fit(answers(), output=tmp_path / "raft", **free)
    ratio = fit(answers(), output=tmp_path / "ratio", request={"objective": RATIO}, **free)
    raft, clipped = seen.pulls
    assert sum(pull.norm() for pull in raft.values()) > 0.01
    for name, pull in raft.items():
        torch.testing.assert_close(clipped[name], pull, rtol=1e-4, atol=1e-7)
    assert ratio.loss == pytest.approx(-1, abs=1e-4)
    assert plain.loss > 4
    assert ratio.figures["behaviour_gap"] < 1e-4
    assert ratio.figures["clip_fraction"] == 0
    assert plain.figures == {}


def test_clipping_stops_the_gradient(fit, seen, answers, tmp_path):
    """Tokens of good answers that are likelier by more than the bound are not pulled at all."""
    near, far = answers()[0], answers(gap=0.3)[1]
    fit([near, far], batch_size=2, output=tmp_path / "both", request={"objective": RATIO})
    (gradient,), (batch,) = seen.gradients, seen.batches
    pulled = gradient.abs().sum(dim=-1) > 0
    predicts = torch.zeros_like(pulled)
    predicts[:, :-1] = (batch["labels"][:, 1:] != -100) & (batch["behaviour"][:, 1:] != 0)
    first = len(near.input_ids)
    order = batch["input_ids"][0, :first].tolist() == list(near.input_ids)
    kept = slice(0, first) if order else slice(len(far.input_ids), None)
    assert torch.equal(pulled[0, kept], predicts[0, kept])
    assert pulled.sum() == 10
    report = fit([far], output=tmp_path / "far", epochs=3, request={"objective": RATIO})
    assert report.grad_norm == 0
    assert report.figures["clip_fraction"] == 1


def test_tokens_become_likelier_up_to_the_bound(fit, answers, tiny_model_dir, tmp_path):
    """Trained for long, raft++ stops near 1 + clip_high; raft does not."""
    good = answers()[:1]
    settings = {"epochs": 25, "rate": 1e-2, "lr_scheduler": "constant"}
    rises = []
    for name, objective in (("raft", None), ("raft++", RATIO)):
        output = tmp_path / name
        fit(good, output=output, request={"objective": objective}, **settings)
        rise = likelihoods(output, good[0]) - torch.tensor(good[0].logprobs)
        rises.append(rise.exp().mean().item())
    assert rises[0] > 3
    assert 1.05 < rises[1] < 2


def test_bad_answers_become_less_likely(fit, answers, tiny_model_dir, tmp_path):
    """Reinforce-Rej raises the good answer and lowers the bad one, and stops at the bound."""
    good, bad = answers(weights=(1.0, -1.0))
    fit(
        [good, bad],
        batch_size=2,
        epochs=15,
        rate=1e-2,
        lr_scheduler="constant",
        request={"objective": RATIO},
    )
    up, down = (
        (likelihoods(tmp_path / "out", one) - torch.tensor(one.logprobs)).mean().item()
        for one in (good, bad)
    )
    assert up > 0.05
    assert down < -0.05
    assert down > -1  # without the bound it falls for ever
    fit([bad], output=tmp_path / "free", epochs=15, rate=1e-2, request={"objective": PLAIN})
    free = (likelihoods(tmp_path / "free", bad) - torch.tensor(bad.logprobs)).mean().item()
    assert free < down


def test_weights_of_one_are_raft_to_the_bit(fit, answers, tmp_path):
    """The same objective through the weighted trainer writes the very adapter."""
    fit(answers(), batch_size=2, epochs=2, output=tmp_path / "raft")
    fit(answers(), batch_size=2, epochs=2, output=tmp_path / "one", request={"objective": PLAIN})
    ours, other = (adapter(tmp_path / name) for name in ("one", "raft"))
    assert all(torch.equal(ours[name], other[name]) for name in other)


def test_a_weight_of_two_is_a_gradient_of_two(fit, seen, answers, tmp_path):
    """Weights scale what their answer pulls with, and the count of tokens stays."""
    one = answers()[0]
    for weight in (1.0, 2.0):
        fit(
            [replace(one, weight=weight)],
            output=tmp_path / str(weight),
            request={"objective": PLAIN},
            max_grad_norm=UNBOUND,
        )
    for name, pull in seen.pulls[0].items():
        torch.testing.assert_close(seen.pulls[1][name], 2 * pull, rtol=1e-4, atol=1e-8)


ALL = Objective(ratio=True, clip_low=0.2, clip_high=0.3, kl_coef=0.2, temperature=0.7)


@pytest.fixture
def moved(fit, make_example, tmp_path):
    """An adapter that is some way from the start model."""
    fit([make_example("c", 4, 12)], epochs=6, rate=2e-2, output=tmp_path / "moved")
    return tmp_path / "moved"


@pytest.mark.parametrize("way", ["padded", "fused", "checkpointing", "one by one"])
def test_every_layout_computes_the_same(fit, seen, answers, moved, tmp_path, monkeypatch, way):
    """Packed and in chunks, as on a CPU; padded; by TRL's fused layer; recomputed; accumulated."""
    both = answers(temperature=0.7, weights=(1.0, -0.5))
    first = len(seen.pulls)
    usual = {
        "policy": moved,
        "batch_size": 2,
        "request": {"objective": ALL},
        "max_grad_norm": UNBOUND,
    }
    report = fit(both, output=tmp_path / "usual", **usual)
    changes = {
        "padded": {"packing": "off"},
        "checkpointing": {"checkpointing": True},
        "one by one": {"batch_size": 1, "gradient_accumulation_steps": 2},
    }
    if way == "fused":
        monkeypatch.setattr(completion_trainer, "_head_is_linear", lambda model: False)
    other = fit(both, output=tmp_path / way, **{**usual, **changes.get(way, {})})
    assert other.loss == pytest.approx(report.loss, rel=1e-4)
    if way != "one by one":
        for name, figure in report.figures.items():
            assert other.figures[name] == pytest.approx(figure, rel=1e-3), name
    ours, theirs = seen.pulls[first:]
    for name, pull in ours.items():
        torch.testing.assert_close(theirs[name], pull, rtol=1e-3, atol=1e-7)


def test_divergence_from_the_model_with_its_adapter_off(
    fit, seen, make_example, moved, tiny_model_dir, tmp_path
):
    """Loss and figure are those of the two models' likelihoods by hand; training shrinks it."""
    one = replace(make_example("c", 4, 12), weight=0.0)
    anchor = replace(PLAIN, kl_coef=0.5)
    report = fit([one], policy=moved, request={"objective": anchor}, output=tmp_path / "first")
    now, start = (likelihoods(folder, one).double() for folder in (moved, tiny_model_dir))
    expected = (torch.exp(start - now) - (start - now) - 1).mean().item()
    assert expected > 0.01
    assert report.figures["kl"] == pytest.approx(expected, rel=1e-3)
    assert report.loss == pytest.approx(0.5 * expected, rel=1e-3)
    again = fit(
        [one],
        policy=moved,
        request={"objective": anchor},
        output=tmp_path / "back",
        epochs=10,
        rate=5e-3,
        lr_scheduler="constant",
    )
    back = likelihoods(tmp_path / "back", one).double()
    assert (torch.exp(start - back) - (start - back) - 1).mean().item() < expected / 2
    assert again.figures["kl"] < expected


def test_a_fresh_adapter_is_the_start_model(fit, answers, tmp_path):
    """Where the adapter does nothing yet there is no divergence, dropout or not."""
    dropped = LoraSettings(r=4, dropout=0.3)
    anchor = replace(RATIO, kl_coef=0.5)
    report = fit(answers(), batch_size=2, lora=dropped, request={"objective": anchor})
    assert report.figures["kl"] == pytest.approx(0, abs=1e-8)
    assert report.figures["behaviour_gap"] < 1e-4
