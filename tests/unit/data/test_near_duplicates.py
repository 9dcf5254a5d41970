"""Near-duplicates: what is reported is one, and what is one is found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.data import near_duplicates
from halo_forge.data.near_duplicates import NearDuplicates
from halo_forge.data.similarity import jaccard, shingles

_FRAME = "Write a complete program that solves this task and prints the answer: "
_texts = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "+"]), min_size=1, max_size=9).map(" ".join),
    max_size=9,
)


def _pairs(texts, threshold=0.7, **options):
    with NearDuplicates(threshold, **options) as near:
        for text in texts:
            near.add(text)
        return list(near.pairs())


def _task(name, words=12):
    return " ".join(f"{name}x{at}" for at in range(words))


@settings(deadline=None, max_examples=60)
@given(_texts, st.sampled_from([0.3, 0.5, 0.7, 1.0]))
def test_no_false_pair(texts, threshold):
    """Every pair is an earlier text with the similarity that is said, at the threshold or above."""
    sets = [shingles(text) for text in texts]
    for at, other, similarity in _pairs(texts, threshold):
        assert other < at
        assert similarity == jaccard(sets[at], sets[other]) >= threshold


@pytest.mark.parametrize("seed", range(5))
def test_planted_pairs_are_found(seed):
    """Two hundred copies with a word or two changed, among as many texts, whatever the seed."""
    texts = [_task(f"t{n}", 40) for n in range(200)]
    copies = [text.replace(f"t{n}x{7 + n % 20}", "other") for n, text in enumerate(texts)]
    found = _pairs([*texts, *copies], seed=seed)
    assert {(at, other) for at, other, _ in found} == {(200 + n, n) for n in range(200)}


def test_the_same_seed_finds_the_same():
    """What is found does not depend on the process: hashes are seeded."""
    texts = [_task(f"t{n % 7}", 9 + n % 3) for n in range(60)]
    assert _pairs(texts, 0.5, seed=3) == _pairs(texts, 0.5, seed=3)


def test_a_common_frame_is_not_similarity():
    """What most texts share says nothing; what two of them share does."""
    tasks = [_FRAME + _task(f"word{n}") for n in range(12)]
    assert _pairs(tasks) == []
    copy = tasks[3].replace("word3x0", "other")
    assert [(at, other) for at, other, _ in _pairs([*tasks, copy], 0.5)] == [(12, 3)]


def test_texts_of_nothing_but_frame_are_near_none():
    """When all is frame nothing is left to compare, and nothing is reported."""
    assert _pairs([_FRAME] * 20) == []
    assert _pairs([]) == []


@pytest.mark.parametrize("templates", [1, 3])
def test_few_of_many_pairs_are_compared(templates, monkeypatch):
    """The search does not compare all pairs, not even when all texts are much alike."""
    frames = [_FRAME + _task(f"w{t}", 15) for t in range(templates)]
    texts = [
        f"{frames[n % templates]} count {n % 97} red {n % 89} and {n} blue in {n % 101} of {n}"
        for n in range(2_000)
    ]
    compared = []
    similarity = near_duplicates._similarity

    def counted(left, right):
        compared.append(1)
        return similarity(left, right)

    monkeypatch.setattr(near_duplicates, "_similarity", counted)
    _pairs(texts)
    assert len(compared) <= 16 * len(texts)
