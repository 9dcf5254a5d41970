"""How many rows fit: the rule on its own, without a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halo_forge.core.errors import ModelFault
from halo_forge.engines.admission import ROW_STEP, admit, room
from halo_forge.utils.hardware import Cpu, Hardware, Memory

GIB = 2**30
MACHINE = Hardware(Cpu("", 2, avx512=False, amx=False, bf16=False), Memory(64 * GIB, 20 * GIB), ())


def test_everything_fits() -> None:
    """With room for all there is one batch, of no more rows than samples."""
    assert admit([(300, 8), (200, 8), (100, 8)], 64, 10, GIB) == (3, 24)
    assert admit([(300, 8), (200, 8), (100, 800)], 64, 10, GIB) == (3, 64)
    assert admit([(300, 1)], 64, 10, GIB) == (1, ROW_STEP)


def test_a_few_long_prompts_do_not_take_the_room_of_the_short(caplog) -> None:
    """Where memory is short, prompts half as long wait for a batch with more rows."""
    needs = [(1000, 8), (900, 8), (500, 8), (100, 64)]
    assert admit(needs, 64, 10, 10 * 1000 * 20) == (2, 16)
    assert "of 64 answers of up to 1000 tokens do not fit into 0.00 GiB: 16 are" in caplog.text
    assert admit(needs[2:], 64, 10, 10 * 1000 * 20) == (1, 8)
    assert admit(needs[3:], 64, 10, 10 * 1000 * 20) == (1, 64)


def test_fewer_rows_are_said(caplog) -> None:
    """A smaller batch than was asked for is logged with its reason."""
    assert admit([(1000, 64)], 64, 10, 10 * 1000 * 20) == (1, 16)
    assert "of 64 answers of up to 1000 tokens do not fit into 0.00 GiB: 16 are" in caplog.text


def test_not_even_one_step(caplog) -> None:
    """If the fewest rows do not fit, the error says what is needed and what there is."""
    with pytest.raises(ModelFault, match=r"8 answers of 1000 tokens need 7\.81 GiB, there are 1"):
        admit([(1000, 64)], 64, 2**20, GIB)


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 64)), min_size=1, max_size=20),
    st.integers(1, 128),
    st.integers(1, 10**6),
    st.integers(1, 10**10),
)
def test_what_is_admitted_fits(needs, wanted, position_bytes, budget) -> None:
    """Rows of the longest prompt fit into the budget, and something is always admitted."""
    needs = sorted(needs, reverse=True)
    try:
        count, rows = admit(needs, wanted, position_bytes, budget)
    except ModelFault:
        assert ROW_STEP * needs[0][0] * position_bytes > budget
        return
    assert 1 <= count <= len(needs)
    assert rows % ROW_STEP == 0
    assert 0 < rows < wanted + ROW_STEP
    assert rows * needs[0][0] * position_bytes <= budget


def test_room() -> None:
    """A limit lowers what is free, and never raises it."""
    assert room(None, 10 * GIB) == 8 * GIB
    assert room(0.5, 10 * GIB) == GIB // 2
    assert room(50, 10 * GIB) == 8 * GIB
