"""Which prompts are solved for the first time, and which are lost."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.core.types import VerifyResult
from halo_forge.report.prompts import movements, movements_grid
from halo_forge.report.samples import Answer


def _answers(*cycles: dict[str, list[bool]]) -> Iterator[Answer]:
    for cycle, prompts in enumerate(cycles, 1):
        for name, passed in prompts.items():
            for index, success in enumerate(passed):
                result = VerifyResult(success, float(success))
                yield Answer(
                    "training", cycle, f"{name}#{index}", name, index, None, "", "stop", "", result
                )


def test_first_and_lost() -> None:
    """One passing answer solves; a prompt is lost against the cycle in which it was asked last."""
    moved = movements(
        _answers(
            {"a": [True, False], "b": [False], "c": [True]},
            {"a": [False, False], "b": [True]},
            {"a": [True], "b": [True], "c": [False]},
        )
    )
    assert [(one.asked, one.solved, one.first, one.lost) for one in moved] == [
        (3, 2, ("a", "c"), ()),
        (2, 1, ("b",), ("a",)),
        (3, 2, (), ("c",)),
    ]


@settings(max_examples=40)
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcde"), st.lists(st.booleans(), min_size=1), min_size=1),
        max_size=6,
    )
)
def test_the_sums_are_right(cycles: list[dict[str, list[bool]]]) -> None:
    """Every prompt that is ever solved is once solved for the first time; lost ones had been."""
    moved = movements(_answers(*cycles))
    firsts = [name for one in moved for name in one.first]
    assert sorted(firsts) == sorted({n for c in cycles for n, passed in c.items() if any(passed)})
    for number, one in enumerate(moved):
        assert one.solved <= one.asked
        assert not set(one.first) & set(one.lost)
        before = {name for earlier in moved[:number] for name in earlier.first}
        assert set(one.lost) <= before


def test_long_lists_are_cut_not_their_length() -> None:
    """A table names a few and counts all."""
    moved = movements(_answers({f"p{i}": [True] for i in range(30)}))
    (row,) = movements_grid(moved, "title").rows
    assert row[1] == "30 of 30"
    assert row[2].startswith("30: p0, p1")
    assert row[2].endswith(", ...")
