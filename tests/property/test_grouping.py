"""A validation set that gives nothing away: no record of it is nearly one that is trained on."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from halo_forge.data.grouping import near_groups, split_off
from halo_forge.data.similarity import near_pairs

WORDS = st.sampled_from(["sum", "list", "of", "numbers", "read", "print", "sort", "tree"])
TEXTS = st.lists(st.lists(WORDS, min_size=1, max_size=6).map(" ".join), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.floats(0, 0.9), st.integers(0, 3))
@example(["sum", "sum sum"], 0.75, 0)
def test_no_near_duplicate_straddles(texts: list[str], share: float, seed: int) -> None:
    """Every record is on one side, none is near one of the other, and no more than asked go."""
    rest, over = split_off(texts, share, seed)
    assert sorted(rest + over) == list(range(len(texts)))
    assert rest
    assert len(over) <= max(1, round(share * len(texts))) if share else not over
    if over:
        assert not near_pairs([texts[at] for at in over], [texts[at] for at in rest])
    assert split_off(texts, share, seed) == (rest, over)


def test_a_split_by_rows_would_straddle() -> None:
    """Ten questions asked five times each: whole groups go over, where rows would part them."""
    asked = [" ".join(f"{name}{at}" for at in range(12)) for name in "abcdefghij"]
    texts = [f"{task} {end}" for task in asked for end in ("x", "y", "x", "y", "x")]
    groups = near_groups(texts)
    assert len(set(groups)) == 10
    rest, over = split_off(texts, 0.2, seed=0)
    assert len(over) == 10
    assert not {groups[at] for at in over} & {groups[at] for at in rest}
    assert {groups[at] for at in range(3)} & {groups[at] for at in range(3, 50)}


def test_another_seed_draws_others() -> None:
    """The seed decides which groups go over."""
    texts = [f"{word} {word * 2} {word * 3}" for word in "abcdefghijklmnopqrst"]
    assert len({tuple(split_off(texts, 0.2, seed)[1]) for seed in range(5)}) > 1
