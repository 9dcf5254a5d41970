"""Drawing tokens: the right distribution, the right log-probabilities, one stream a seed."""

import math
import random

import numpy as np
import pytest
import torch

from halo_forge.engines.sampling import Law, draw, uniforms

LOGITS = torch.tensor([1.5, -2.0, 0.0, 3.0, -0.5, 0.5, 2.5, -1.0])
LAST = 1 - 2**-24  # the largest uniform number below 1 in float32


def chi_square(tokens: torch.Tensor, expected: torch.Tensor) -> float:
    """Pearson's statistic of drawn tokens against probabilities."""
    counts = torch.bincount(tokens, minlength=len(expected)).double()
    wanted = expected.double() * len(tokens)
    return float(((counts - wanted) ** 2 / wanted).sum())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_draws_follow_the_distribution(temperature: float) -> None:
    """200,000 draws fit the tempered distribution, and would not fit another temperature's."""
    count = 200_000
    uniform = torch.tensor(uniforms(7, count))
    tokens, _ = draw(LOGITS.expand(count, -1), Law(temperature), uniform)
    # 7 degrees of freedom: above 40.5 once in a million
    assert chi_square(tokens, torch.softmax(LOGITS / temperature, -1)) < 40.5
    assert chi_square(tokens, torch.softmax(LOGITS / (temperature * 1.1), -1)) > 40.5


@pytest.mark.parametrize("alive", [(2,), (1, 4), (1, 3, 4), (0, 6)])
def test_impossible_tokens_are_never_drawn(alive: tuple[int, ...]) -> None:
    """Tokens of probability zero stay undrawn, at the ends of the interval and at its seams too."""
    logits = torch.full((7,), -torch.inf)
    logits[list(alive)] = torch.tensor([0.3 * i for i in range(len(alive))])
    seams = torch.cumsum(torch.softmax(logits, -1), -1)
    below = torch.nextafter(seams, torch.zeros(())).clamp(0, LAST)
    uniform = torch.cat([torch.tensor([0.0, LAST]), seams.clamp(0, LAST), below])
    tokens, logprobs = draw(logits.expand(len(uniform), -1), Law(1.0), uniform)
    assert set(tokens.tolist()) == set(alive)
    assert torch.isfinite(logprobs).all()


def test_underflow_is_impossible_too() -> None:
    """A token whose probability rounds to zero in float32 is not drawn at either end."""
    logits = torch.tensor([[-200.0, 0.0, -200.0]]).expand(2, -1)
    tokens, _ = draw(logits, Law(1.0), torch.tensor([0.0, LAST]))
    assert tokens.tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0])
def test_log_probabilities_are_those_of_the_draw(temperature: float, dtype: torch.dtype) -> None:
    """Each row's figure is log_softmax(logits / T) at its token, computed in float32."""
    logits = torch.randn(64, 50, generator=torch.Generator().manual_seed(1)).mul(3).to(dtype)
    tokens, logprobs = draw(logits, Law(temperature), torch.tensor(uniforms(3, 64)))
    expected = torch.log_softmax(logits.double() / temperature, -1)
    assert tokens.dtype == torch.int64
    assert logprobs.dtype == torch.float32
    assert len(set(tokens.tolist())) > 10
    picked = expected.gather(1, tokens[:, None])[:, 0]
    torch.testing.assert_close(logprobs.double(), picked, atol=2e-6, rtol=0)


def test_temperature_zero() -> None:
    """Zero takes the most likely token and reports its untempered log-probability."""
    logits = torch.randn(16, 30, generator=torch.Generator().manual_seed(2))
    tokens, logprobs = draw(logits, Law(0), torch.tensor(uniforms(3, 16)))
    assert torch.equal(tokens, logits.argmax(-1))
    assert torch.equal(logprobs, torch.log_softmax(logits, -1).max(-1).values)


def test_rows_are_drawn_apart() -> None:
    """A row's token does not depend on the rows beside it."""
    logits = torch.randn(8, 30, generator=torch.Generator().manual_seed(4))
    uniform = torch.tensor(uniforms(5, 8))
    together, _ = draw(logits, Law(1.0), uniform)
    alone = [int(draw(logits[i : i + 1], Law(1.0), uniform[i : i + 1])[0]) for i in range(8)]
    assert together.tolist() == alone


def test_uniforms_depend_on_the_seed_alone() -> None:
    """The same seed gives the same numbers whatever was drawn elsewhere; another seed others."""
    state = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state()
    first = uniforms(2**63 - 1, 100)
    np.random.default_rng().random(3)
    assert uniforms(2**63 - 1, 100) == first
    assert uniforms(2**63 - 1, 10) == first[:10]
    assert not set(uniforms(2**63 - 2, 100)) & set(first)
    assert (np.random.get_state()[1] == state[0]).all()
    assert random.getstate() == state[1]
    assert torch.equal(torch.get_rng_state(), state[2])


def test_uniforms_are_uniform() -> None:
    """Numbers lie in [0, 1), exactly representable, spread evenly; streams do not go together."""
    numbers = np.array(uniforms(11, 100_000))
    assert numbers.min() >= 0
    assert numbers.max() <= LAST
    assert (numbers == numbers.astype(np.float32)).all()
    bins = np.histogram(numbers, bins=20, range=(0, 1))[0]
    # 19 degrees of freedom: above 66 once in two million
    assert float(((bins - 5000) ** 2 / 5000).sum()) < 66
    other = np.array(uniforms(12, 100_000))
    assert abs(np.corrcoef(numbers, other)[0, 1]) < 5 / math.sqrt(100_000)
