"""Truncated laws against a full sort and against transformers' own processors, ties included."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from halo_forge.engines import sampling
from halo_forge.engines.sampling import Law, draw, penalise, uniforms

LAWS = [
    Law(0.7),
    Law(1.0, top_p=0.9),
    Law(0.7, top_p=0.2),
    Law(1.0, top_k=1),
    Law(1.3, top_k=20),
    Law(0.7, min_p=0.1),
    Law(1.0, top_k=30, top_p=0.8, min_p=0.02),
    Law(1.0, top_k=3, top_p=0.99),
]


def reference(logits: torch.Tensor, law: Law) -> torch.Tensor:
    """Probabilities in float64 by a full sort: likeliest first, lower ids first of equals."""
    rows = []
    for row in logits.float() / law.temperature:
        order = sorted(range(len(row)), key=lambda i: (-float(row[i]), i))
        mass = torch.softmax(row.double(), -1)
        alive = set(order)
        if law.top_k:
            least = float(row[order[min(law.top_k, len(order)) - 1]])
            alive = {i for i in order if float(row[i]) >= least}
        whole, before, kept = sum(float(mass[i]) for i in alive), 0.0, set()
        for i in order:
            if i in alive and before < law.top_p * whole:
                kept.add(i)
                before += float(mass[i])
        floor = float(row[order[0]]) + (math.log(law.min_p) if law.min_p else -math.inf)
        kept = {i for i in kept if float(row[i]) >= floor}
        rows.append(torch.tensor([float(mass[i]) if i in kept else 0.0 for i in range(len(row))]))
    found = torch.stack(rows).double()
    return found / found.sum(-1, keepdim=True)


def check(logits: torch.Tensor, law: Law, draws: int = 400) -> None:
    """Every draw lies in the support, with the law's log-probability, and all of it is drawn."""
    wanted = reference(logits, law)
    for row, expected in zip(logits, wanted, strict=True):
        uniform = (torch.arange(draws) + 0.5) / draws
        tokens, logprobs = draw(row.expand(draws, -1), law, uniform)
        assert set(tokens.tolist()) <= set(torch.nonzero(expected).flatten().tolist())
        torch.testing.assert_close(logprobs.double(), expected[tokens].log(), atol=3e-6, rtol=0)
        shares = torch.bincount(tokens, minlength=len(expected)) / draws
        # evenly spaced numbers hit an interval once for every 1/draws of its length
        assert (shares - expected).abs().max() < 1.01 / draws


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_equals_a_full_sort(law: Law) -> None:
    """Peaked and flat rows, small and odd vocabularies."""
    for size, spread in ((700, 3.0), (700, 0.01), (5, 1.0), (257, 2.0)):
        generator = torch.Generator().manual_seed(size)
        check(torch.randn(3, size, generator=generator) * spread, law)


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_ties(law: Law) -> None:
    """Logits of few values, so that every border runs through equals."""
    generator = torch.Generator().manual_seed(5)
    check(torch.randint(-2, 3, (3, 600), generator=generator).float(), law)
    check(torch.zeros(1, 299), law)


def test_a_wide_nucleus_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows whose nucleus is wider than the leading tokens are drawn from more; others are not."""
    counts = []
    plain = sampling._draw_among

    def note(logits, law, uniform, count):
        counts.append((len(logits), count))
        return plain(logits, law, uniform, count)

    monkeypatch.setattr(sampling, "_draw_among", note)
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 20_000, generator=generator)
    logits[:3] *= 12
    uniform = torch.tensor(uniforms(1, 4))
    together = draw(logits, Law(1.0, top_p=0.95), uniform)
    assert counts == [(4, 64), (1, 512), (1, 4096), (1, 20_000)]
    for i in range(4):
        alone = draw(logits[i : i + 1], Law(1.0, top_p=0.95), uniform[i : i + 1])
        assert torch.equal(together[0][i], alone[0][0])
        assert torch.equal(together[1][i], alone[1][0])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 900),
    st.integers(0, 40),
    st.floats(0.05, 1),
    st.sampled_from([0.0, 0.05, 0.5]),
    st.integers(0, 2**32),
)
def test_support_is_that_of_transformers(
    size: int, top_k: int, top_p: float, min_p: float, seed: int
) -> None:
    """Of different logits the same tokens survive as in `generate`, with the same probabilities."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randperm(size, generator=generator)[None].float() * (8 / size)
    law = Law(0.8, top_k, top_p, min_p)
    warpers = LogitsProcessorList([TemperatureLogitsWarper(0.8)])
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    if min_p:
        warpers.append(MinPLogitsWarper(min_p))
    theirs = torch.log_softmax(warpers(None, logits.double()), -1)[0]
    tokens, logprobs = draw(logits.expand(64, -1), law, (torch.arange(64) + 0.5) / 64)
    # where the sum of float32 roundings decides whether the last token belongs, both are right
    mass = theirs.exp().sort(descending=True).values.cumsum(0)
    if top_p == 1 or (mass - top_p).abs().min() > 1e-5:
        torch.testing.assert_close(logprobs.double(), theirs[tokens], atol=1e-5, rtol=0)


def test_repetition_penalty_is_that_of_transformers() -> None:
    """Positive and negative logits, tokens seen more than once."""
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(1))
    history = torch.randint(0, 50, (4, 30), generator=torch.Generator().manual_seed(2))
    theirs = RepetitionPenaltyLogitsProcessor(1.3)(history, logits.clone())
    assert torch.equal(penalise(logits, history, 1.3), theirs)
    assert not torch.equal(theirs, logits)


@pytest.mark.parametrize("law", [*LAWS, Law(0)], ids=str)
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_poisoned_row_is_seen(law: Law, poison: float) -> None:
    """A row with a NaN gets a figure that is not finite, and its neighbours their own."""
    logits = torch.randn(3, 300, generator=torch.Generator().manual_seed(3))
    uniform = torch.tensor(uniforms(1, 3))
    clean = draw(logits, law, uniform)
    logits[1, 17] = poison
    tokens, logprobs = draw(logits, law, uniform)
    assert not math.isfinite(float(logprobs[1]))
    assert tokens.max() < 300
    for row in (0, 2):
        assert tokens[row] == clean[0][row]
        assert logprobs[row] == clean[1][row]
