"""What selection keeps, whatever the verdicts are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.core.types import Verdict
from halo_forge.rlvr.selection import select
from tests.fakes import make_verdict

_LADDER = [0.0, 0.3, 0.5, 0.7, 1.0]
_rewards = st.sampled_from(_LADDER) | st.floats(0, 1)
_thresholds = st.sampled_from(_LADDER) | st.floats(0, 1)
_hundredths = st.integers(1, 100)
_any_reward = _rewards | st.none()
_texts = st.sampled_from(["a", "b b", "b  b", "c"])
_endings = st.sampled_from(["stop", "stop", "stop", "length"])
_seeds = st.integers(0, 2**63 - 1)
_many = settings(max_examples=40, deadline=None)


@st.composite
def _verdicts(
    draw: st.DrawFn, rewards: st.SearchStrategy[float | None] = _any_reward
) -> list[Verdict]:
    answers = st.tuples(rewards, _texts, st.integers(1, 4), _endings)
    groups = draw(st.lists(st.lists(answers, min_size=1, max_size=11), max_size=4))
    return [
        make_verdict(
            f"p{number}",
            index,
            reward,
            text,
            token_ids=(5,) * length,
            finish_reason=finish,
        )
        for number, group in enumerate(groups)
        for index, (reward, text, length, finish) in enumerate(group)
    ]


def _reward(verdict: Verdict) -> float:
    assert verdict.result is not None
    return verdict.result.reward


def _ids(verdicts: list[Verdict]) -> set[str]:
    return {verdict.sample.id for verdict in verdicts}


def _by_prompt(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    groups = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.sample.prompt.id].append(verdict)
    return groups


@_many
@given(_verdicts(), _thresholds, _hundredths, _seeds)
def test_kept_by_the_rule(
    verdicts: list[Verdict], threshold: float, percent: int, seed: int
) -> None:
    """No fault, nothing cut off or below, the highest rung only, and as many as are asked for.

    The highest rung is that of all answers, of those that were cut as well.
    """
    kept = select(verdicts, threshold=threshold, keep=percent / 100, seed=seed)
    assert len(_ids(kept)) == len(kept)
    found = _by_prompt(kept)
    groups = _by_prompt(verdict for verdict in verdicts if verdict.fault is None)
    assert found.keys() <= groups.keys()
    for name, group in groups.items():
        top = max(map(_reward, group))
        candidates = [
            verdict
            for verdict in group
            if verdict.sample.finish_reason == "stop" and _reward(verdict) >= threshold
        ]
        rung = [verdict for verdict in candidates if _reward(verdict) == top]
        share = max(1, int(Decimal(percent) * len(candidates) / 100))  # exact, where floats are not
        assert _ids(found[name]) <= _ids(rung)
        assert len(found[name]) == min(share, len(rung))


@_many
@given(_verdicts(), _thresholds, _hundredths, _seeds, st.randoms(use_true_random=False))
def test_order_does_not_matter(verdicts, threshold, percent, seed, random) -> None:
    """The same verdicts in any order give the same list."""
    shuffled = random.sample(verdicts, len(verdicts))
    given_order = select(verdicts, threshold=threshold, keep=percent / 100, seed=seed)
    assert select(shuffled, threshold=threshold, keep=percent / 100, seed=seed) == given_order


@_many
@given(_verdicts(), _thresholds, _thresholds, _hundredths, _seeds)
def test_monotone_in_the_threshold(verdicts, one, other, percent, seed) -> None:
    """Raising the threshold only takes away."""
    low, high = sorted([one, other])
    many = select(verdicts, threshold=low, keep=percent / 100, seed=seed)
    few = select(verdicts, threshold=high, keep=percent / 100, seed=seed)
    assert _ids(few) <= _ids(many)
    assert all(_reward(verdict) >= high for verdict in few)


@_many
@given(_verdicts(), _thresholds, _hundredths, _hundredths, _seeds)
def test_monotone_in_the_share(verdicts, threshold, one, other, seed) -> None:
    """Keeping a larger share only adds."""
    low, high = sorted([one, other])
    few = select(verdicts, threshold=threshold, keep=low / 100, seed=seed)
    many = select(verdicts, threshold=threshold, keep=high / 100, seed=seed)
    assert _ids(few) <= _ids(many)


@_many
@given(_verdicts(), _verdicts(), _thresholds, _hundredths, _seeds)
def test_prompts_do_not_compete(verdicts, others, threshold, percent, seed) -> None:
    """What is kept of a prompt does not depend on any other prompt."""
    strangers = [
        make_verdict(
            f"other {v.sample.prompt.id}",
            v.sample.index,
            None if v.fault else _reward(v),
            v.sample.completion,
        )
        for v in others
    ]
    alone = select(verdicts, threshold=threshold, keep=percent / 100, seed=seed)
    among = select([*strangers, *verdicts], threshold=threshold, keep=percent / 100, seed=seed)
    assert [v for v in among if not v.sample.prompt.id.startswith("other")] == alone


@_many
@given(_verdicts(st.just(1.0)), _hundredths, _seeds)
def test_repeats_are_last(verdicts, percent, seed) -> None:
    """A repeat is kept only when every distinct answer of its rung is kept already."""
    kept = _by_prompt(select(verdicts, threshold=0.5, keep=percent / 100, seed=seed))
    for name, group in kept.items():
        top = _reward(group[0])
        rung = {
            " ".join(v.sample.completion.split())
            for v in verdicts
            if v.sample.prompt.id == name
            and v.fault is None
            and v.sample.finish_reason == "stop"
            and _reward(v) == top
        }
        texts = [" ".join(v.sample.completion.split()) for v in group]
        assert len(set(texts)) == min(len(texts), len(rung))
