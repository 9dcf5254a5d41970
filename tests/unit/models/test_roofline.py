"""The roofline is arithmetic: what is counted, how often, and what decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halo_forge.models.roofline import (
    Rates,
    Shape,
    Work,
    decode_work,
    prefill_work,
    step_work,
    training_work,
)

SHAPE = Shape(10, 1000, 200, 1400, 0, 8, 4, 16, 50)
WITH = Shape(10, 1000, 200, 1400, 30, 8, 4, 16, 50)


def test_the_slower_of_two_decides() -> None:
    """Products and reading overlap, so the longer of both is the least time."""
    rates = Rates(flops=10, reading=100)
    assert Work(50, 100).seconds(rates) == 5
    assert Work(50, 100).limit(rates) == "matrix products"
    assert Work(50, 1000).seconds(rates) == 10
    assert Work(50, 1000).limit(rates) == "memory bandwidth"
    assert Work(50, 1000).one_by_one(rates) == 15


def test_a_step_reads_weights_once_and_the_past_of_each_row() -> None:
    """Twice a weight in operations for each row; keys and values of each position, two a layer."""
    work = step_work(SHAPE, rows=8, positions=100, size=2)
    assert work.flops == 2 * 1200 * 8 + 4 * 10 * 8 * 8 * 100
    assert work.bytes == 2 * (1200 + 2 * 10 * 4 * 8 * 100)


@given(st.integers(1, 64), st.integers(1, 500), st.integers(1, 200))
def test_many_tokens_are_many_steps(rows, positions, steps) -> None:
    """Full batches cost as many steps."""
    whole = decode_work(SHAPE, rows * steps, rows * steps * positions, steps, 4)
    each = step_work(SHAPE, rows, positions, 4) * steps
    assert (whole.flops, whole.bytes) == (pytest.approx(each.flops), pytest.approx(each.bytes))


def test_prompts_score_their_last_position_alone() -> None:
    """The output layer is a product of one row."""
    assert prefill_work(SHAPE, 100, 4).flops == 2 * 1000 * 100 + 2 * 200 + 2 * 10 * 8 * 100 * 100


def test_frozen_weights_need_no_gradient_of_their_own() -> None:
    """4 operations a frozen weight and token, 6 a trained one; logits of completions alone."""
    attention = 3 * 2 * 10 * 8 * 20 * 20
    assert training_work(WITH, [(20, 5)]).flops == (4000 + 180) * 20 + 800 * 5 + attention
    assert training_work(SHAPE, [(20, 5)]).flops == 6000 * 20 + 1200 * 5 + attention
    read = training_work(WITH, [(20, 5)], reference=True).flops
    assert read == (6000 + 180) * 20 + 1200 * 5 + attention * 4 / 3
    assert (training_work(WITH, [(20, 5)]) * 3).flops == training_work(WITH, [(20, 5)] * 3).flops


def test_fewer_layers() -> None:
    """What is in the layers shrinks with them; embedding and output layer stay."""
    cut = WITH.cut(4)
    assert (cut.layers, cut.linear, cut.adapters, cut.parameters) == (4, 400, 12, 800)
    assert (cut.head, cut.vocabulary) == (200, 50)
    assert WITH.cut(10) == WITH
