"""The loss a chunk at a time is cross-entropy over all logits, which never exist."""

import pytest
import torch
from torch.nn.functional import cross_entropy, linear
from torch.utils._python_dispatch import TorchDispatchMode

from halo_forge.sft import loss

VOCABULARY, WIDTH = 700, 32


def inputs(tokens: int, *, bias: bool, dtype: torch.dtype = torch.float32):
    """Hidden states, output layer, targets and weights of ``tokens``, twice the same."""
    numbers = torch.Generator().manual_seed(tokens)
    draw = [
        torch.randn(tokens, WIDTH, generator=numbers),
        torch.randn(VOCABULARY, WIDTH, generator=numbers),
        torch.randn(VOCABULARY, generator=numbers) if bias else None,
    ]
    targets = torch.randint(VOCABULARY, (tokens,), generator=numbers)
    weights = torch.rand(tokens, generator=numbers)
    two = [
        [None if t is None else t.to(dtype, copy=True).requires_grad_() for t in draw]
        for _ in range(2)
    ]
    return *two, targets, weights


@pytest.mark.parametrize("tokens", [1, 255, 256, 257, 700])
@pytest.mark.parametrize("bias", [False, True])
def test_as_cross_entropy(tokens, bias):
    """Loss, log-likelihoods, entropies and every gradient, with a weight for each token."""
    ours, theirs, targets, weights = inputs(tokens, bias=bias)
    found = loss.completion_loss(*ours, targets, weights)
    (3 * found.loss).backward()
    logits = linear(*theirs)
    each = cross_entropy(logits, targets, reduction="none")
    (3 * (each * weights).sum()).backward()
    assert found.loss.item() == pytest.approx((each * weights).sum().item(), rel=1e-5)
    assert torch.allclose(found.log_probs, -each, atol=1e-4)
    entropy = torch.distributions.Categorical(logits=logits.detach()).entropy()
    assert torch.allclose(found.entropy, entropy, atol=1e-4)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine is None or torch.allclose(mine.grad, other.grad, atol=1e-4, rtol=1e-4)


def test_sure_of_a_token_to_the_last_digit():
    """A target of probability next to nothing keeps its loss, and one next to 1 its zero."""
    hidden = torch.tensor([[1.0], [1.0]])
    weight = torch.tensor([[300.0], [0.0], [-300.0]])
    found = loss.completion_loss(hidden, weight, None, torch.tensor([0, 2]), torch.ones(2))
    assert found.log_probs.tolist() == [0.0, -600.0]


def test_half_precision_rounds_products_alone():
    """In bfloat16 the loss is as near to float32's as bfloat16's full logits are."""
    ours, theirs, targets, weights = inputs(300, bias=False, dtype=torch.bfloat16)
    found = loss.completion_loss(*ours, targets, weights)
    found.loss.backward()
    logits = linear(*theirs).float()
    (cross_entropy(logits, targets, reduction="none") * weights).sum().backward()
    exact = linear(*(t.float() for t in ours[:2]))
    expected = (cross_entropy(exact, targets, reduction="none") * weights).sum()
    assert found.loss.item() == pytest.approx(expected.item(), rel=2e-3)
    assert ours[0].grad.dtype == torch.bfloat16
    error = (ours[0].grad.float() - theirs[0].grad.float()).norm() / theirs[0].grad.float().norm()
    assert error < 0.02


def test_autocast_decides_the_type():
    """Under autocast the products are bfloat16 and the gradients of float32 inputs float32."""
    ours, _, targets, weights = inputs(40, bias=False)
    wide = loss.completion_loss(*ours, targets, weights).loss
    with torch.autocast("cpu", torch.bfloat16):
        narrow = loss.completion_loss(*ours, targets, weights).loss
    narrow.backward()
    assert 0 < abs(wide.item() - narrow.item()) < 0.02 * wide.item()
    assert ours[0].grad.dtype == torch.float32


class Largest(TorchDispatchMode):
    """Notes the largest tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if torch.is_tensor(tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_no_logits_of_all_tokens():
    """Nothing as large as the logits is ever made, forward or backward."""
    tokens = 4 * loss._ROWS
    ours, theirs, targets, weights = inputs(tokens, bias=False)
    with Largest() as seen:
        loss.completion_loss(*ours, targets, weights).loss.backward()
    assert seen.elements == loss._ROWS * VOCABULARY
    with Largest() as seen:
        cross_entropy(linear(*theirs), targets).backward()
    assert seen.elements == tokens * VOCABULARY


def test_no_logits_in_a_training_phase(fit, make_example, tiny_model_dir):
    """Nor does a training step make any, of the prompt or of the completion."""
    import json

    vocabulary = json.loads((tiny_model_dir / "config.json").read_text())["vocab_size"]
    examples = [make_example("a", 900, 900), make_example("b", 20, 900)]
    with Largest() as seen:
        fit(examples, batch_size=2)
    assert loss._ROWS * vocabulary < seen.elements < 1800 * vocabulary
