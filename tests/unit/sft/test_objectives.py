"""Costs and slopes against the formulas as they stand in the papers, in float64 by autograd."""

import pytest
import torch
from torch.nn.functional import linear

from halo_forge.sft import loss
from halo_forge.sft.base import Objective
from halo_forge.sft.objectives import Signals, token_costs

TOKENS, VOCABULARY, WIDTH = 300, 97, 16
KINDS = {
    "raft": Objective(ratio=False, clip_low=0.2, clip_high=0.2, kl_coef=0.0),
    "raft, anchored": Objective(ratio=False, clip_low=0.2, clip_high=0.2, kl_coef=0.3),
    "raft++": Objective(ratio=True, clip_low=0.2, clip_high=0.2, kl_coef=0.0),
    "clip higher": Objective(ratio=True, clip_low=0.2, clip_high=0.28, kl_coef=0.0),
    "all": Objective(ratio=True, clip_low=0.1, clip_high=0.4, kl_coef=0.7, temperature=0.7),
}


def by_the_paper(objective, log_probs, weights, behaviour, reference):
    """Sum of the tokens' costs, in the plainest words; float64, with a graph."""
    total = torch.zeros((), dtype=torch.float64)
    for now, weight, then, start in zip(log_probs, weights, behaviour, reference, strict=True):
        if not objective.ratio:
            cost = -weight * now
        else:
            s = torch.exp(now - then)
            clipped = torch.clamp(s, 1 - objective.clip_low, 1 + objective.clip_high)
            cost = -torch.min(s * weight, clipped * weight)
            if weight < 0:
                cost = torch.min(cost, -3 * weight)
        if objective.kl_coef:
            cost = cost + objective.kl_coef * (torch.exp(start - now) - (start - now) - 1)
        total = total + cost
    return total


def draw():
    """Weights of both signs, and log-likelihoods now, then and at the start, near each other."""
    numbers = torch.Generator().manual_seed(7)
    weights = torch.tensor([1.0, -1.0, 0.4, -2.0])[
        torch.randint(4, (TOKENS,), generator=numbers)
    ].double()
    now = -3 * torch.rand(TOKENS, generator=numbers, dtype=torch.float64)
    then, start = (
        now + 0.5 * torch.randn(TOKENS, generator=numbers, dtype=torch.float64) for _ in range(2)
    )
    return now, weights, then, start


@pytest.mark.parametrize("kind", KINDS)
def test_cost_and_slope(kind):
    """Each token's cost, and its derivative, are the formula's; all branches are met."""
    objective = KINDS[kind]
    now, weights, then, start = draw()
    now.requires_grad_()
    total = by_the_paper(objective, now, weights, then, start)
    total.backward()
    anchored = start.float() if objective.kl_coef else None
    signals = Signals(weights.float(), then.float(), anchored)
    cost, slope = token_costs(objective, now.detach().float(), signals)
    assert cost.double().sum().item() == pytest.approx(total.item(), rel=1e-5)
    assert torch.allclose(slope.double(), now.grad, atol=1e-5)
    if objective.ratio:
        s = torch.exp(now.detach() - then)
        assert ((s > 1 + objective.clip_high) & (weights > 0)).any()
        assert ((s < 1 - objective.clip_low) & (weights < 0)).any()
        assert ((s > 3) & (weights < 0)).any() or kind != "raft++"


@pytest.mark.parametrize("kind", KINDS)
def test_the_output_layer_a_chunk_at_a_time(kind, monkeypatch):
    """The loss and the gradients by hidden states and weights are those of all logits at once."""
    monkeypatch.setattr(loss, "_ROWS", 64)
    objective = KINDS[kind]
    numbers = torch.Generator().manual_seed(3)
    hidden = torch.randn(TOKENS, WIDTH, generator=numbers)
    head = torch.randn(VOCABULARY, WIDTH, generator=numbers) / 4
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=numbers)
    _, weights, _, _ = draw()
    share = torch.full((TOKENS,), 1 / TOKENS)

    exact = [t.double().requires_grad_() for t in (hidden, head)]
    scores = torch.log_softmax(linear(*exact) / objective.temperature, dim=-1)
    now = scores[torch.arange(TOKENS), targets]
    then, start = (now.detach() + 0.4 * torch.randn(TOKENS, generator=numbers) for _ in range(2))
    total = by_the_paper(objective, now, weights, then, start) / TOKENS
    total.backward()

    ours = [t.clone().requires_grad_() for t in (hidden, head)]
    signals = Signals(weights.float(), then.float(), start.float() if objective.kl_coef else None)
    costs = loss.Costs(
        lambda log_probs, rows: token_costs(objective, log_probs, signals.at(rows)),
        objective.temperature,
    )
    found = loss.completion_loss(*ours, None, targets, share, costs)
    found.loss.backward()
    assert found.loss.item() == pytest.approx(total.item(), rel=1e-4)
    for mine, other in zip(ours, exact, strict=True):
        assert torch.allclose(mine.grad.double(), other.grad, atol=1e-5, rtol=1e-3)


def test_weights_of_one_change_no_bit():
    """RAFT's cost with a weight of 1 for each token is the plain loss, to the bit."""
    numbers = torch.Generator().manual_seed(3)
    hidden = torch.randn(TOKENS, WIDTH, generator=numbers)
    head = torch.randn(VOCABULARY, WIDTH, generator=numbers)
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=numbers)
    share = torch.full((TOKENS,), 1 / TOKENS)
    signals = Signals(torch.ones(TOKENS), torch.zeros(TOKENS))
    costs = loss.Costs(lambda lp, rows: token_costs(KINDS["raft"], lp, signals.at(rows)))
    results = []
    for extra in ((), (costs,)):
        leaf = hidden.clone().requires_grad_()
        found = loss.completion_loss(leaf, head, None, targets, share, *extra)
        found.loss.backward()
        results.append((found.loss.detach(), leaf.grad))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_far_away_stays_a_number():
    """Ratios and divergences beyond what float32 holds are bounded, not infinite."""
    now, then = torch.tensor([0.0, 0.0, -400.0]), torch.tensor([-400.0, -400.0, 0.0])
    signals = Signals(torch.tensor([1.0, -1.0, 1.0]), then, then)
    for figures in token_costs(KINDS["all"], now, signals):
        assert torch.isfinite(figures).all()
