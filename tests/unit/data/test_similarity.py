"""Near-duplicates: the fast search finds what comparing everything finds."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.data.similarity import NEAR, jaccard, near_pairs, shingles

_FRAME = "Write a complete program that solves this task and prints the answer: "
_texts = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "+"]), min_size=1, max_size=9).map(" ".join),
    max_size=9,
)


def test_shingles_fold_case_and_keep_symbols():
    """Case and spacing do not matter, an operator does."""
    assert shingles("Print  a + B") == shingles("print a + b")
    assert shingles("print a + b") != shingles("print a - b")
    assert shingles("x") == {("x",)}
    assert shingles("") == shingles("  ")


def test_jaccard():
    """Equal texts give 1, texts without a common 3-gram 0."""
    left = shingles("a b c d")
    assert jaccard(left, left) == 1.0
    assert jaccard(left, shingles("a b c e")) == pytest.approx(1 / 3)
    assert jaccard(left, shingles("d c b a")) == 0.0


@settings(deadline=None)
@given(_texts, st.sampled_from([0.3, 0.5, NEAR, 1.0]))
def test_finds_what_comparing_everything_finds(texts, threshold):
    """Exactly the texts that have a near earlier one are found, with a true partner each."""
    sets = [shingles(text) for text in texts]
    expected = {
        at for at, one in enumerate(sets) if any(jaccard(one, o) >= threshold for o in sets[:at])
    }
    pairs = near_pairs(texts, threshold=threshold)
    assert {at for at, _, _ in pairs} == expected
    for at, other, similarity in pairs:
        assert other < at
        assert similarity == jaccard(sets[at], sets[other]) >= threshold


@settings(deadline=None)
@given(_texts, _texts)
def test_finds_partners_among_others(texts, others):
    """With other texts only these are partners."""
    if len(texts) + len(others) >= 10:
        others = others[: 9 - len(texts)]
    sets, theirs = [shingles(text) for text in texts], [shingles(text) for text in others]
    expected = {at for at, one in enumerate(sets) if any(jaccard(one, o) >= NEAR for o in theirs)}
    assert {at for at, _, _ in near_pairs(texts, others)} == expected


def test_a_common_frame_is_not_similarity():
    """What most texts share says nothing; what two of them share does."""
    tasks = [_FRAME + " ".join(f"word{n}x{at}" for at in range(12)) for n in range(12)]
    assert near_pairs(tasks) == []
    copy = tasks[3].replace("word3x0", "other")
    assert [(at, other) for at, other, _ in near_pairs([*tasks, copy])] == [(12, 3)]


@pytest.mark.parametrize("templates", [1, 3])
def test_thousands_of_texts_take_seconds(templates):
    """The search does not compare all pairs, not even when all texts are much alike."""
    frames = [f"{_FRAME} {' '.join(f'w{t}x{at}' for at in range(15))}" for t in range(templates)]
    texts = [
        f"{frames[n % templates]} count {n % 97} red {n % 89} and {n} blue in {n % 101} of {n}"
        for n in range(5_000)
    ]
    start = time.process_time()
    near_pairs(texts)
    assert time.process_time() - start < 10
