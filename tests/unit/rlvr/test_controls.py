"""Controls differ from a verified run in what selection is told, and in nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from halo_forge.config.raft import LoopSettings, RaftConfig
from halo_forge.config.steering import Control
from halo_forge.core.types import Verdict
from halo_forge.rlvr.controls import controlled, told
from halo_forge.rlvr.selection import select
from tests.fakes import make_verdict

_BAR = {"threshold": 0.5, "keep": 0.5}
_one = st.tuples(
    st.sampled_from("abcd"), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0, None]), st.booleans()
)


@st.composite
def _cycles(draw: st.DrawFn) -> list[Verdict]:
    found = draw(st.lists(_one, max_size=24))
    return [
        make_verdict(name, at, reward, finish_reason="length" if cut else "stop")
        for at, (name, reward, cut) in enumerate(found)
    ]


def _ids(verdicts: list[Verdict]) -> list[str]:
    return [verdict.sample.id for verdict in verdicts]


def choose(verdicts: list[Verdict], control: Control, **bar: Any) -> list[Verdict]:
    """What a run with a control trains on, all at the same weight."""
    choice = controlled(verdicts, LoopSettings(control=control), **bar)
    assert not choice.bad
    assert set(choice.weights.values()) <= {1.0}
    return choice.good


@given(_cycles(), st.integers(0, 5), st.randoms())
def test_shuffled_rewards_are_the_same_rewards(verdicts: list[Verdict], seed: int, random) -> None:
    """The multiset of rewards stays, of ended and of cut answers; the order given is no matter."""
    dealt = told(verdicts, "shuffled", seed)

    def rewards(found: list[Verdict]) -> Counter:
        return Counter((v.sample.finish_reason, v.result.reward) for v in found if v.result)

    assert rewards(dealt) == rewards(verdicts)
    judged = [verdict for verdict in verdicts if verdict.result is not None]
    assert sorted(_ids(dealt)) == sorted(_ids(judged))
    other = random.sample(verdicts, len(verdicts))
    assert told(other, "shuffled", seed) == dealt
    assert choose(other, "shuffled", **_BAR, seed=seed) == choose(
        verdicts, "shuffled", **_BAR, seed=seed
    )


@given(_cycles(), st.integers(0, 5), st.sampled_from(["unverified", "shuffled", "compile-only"]))
def test_what_is_kept_has_its_own_verdict(verdicts: list[Verdict], seed: int, control) -> None:
    """No pretended verdict leaves selection; no cut answer is kept, none twice, none too many."""
    kept = choose(verdicts, control, **_BAR, seed=seed)
    real = select(verdicts, **_BAR, seed=seed)
    assert all(verdict in verdicts for verdict in kept)
    assert all(verdict.sample.finish_reason == "stop" for verdict in kept)
    assert len(set(_ids(kept))) == len(kept)
    if control == "unverified":
        assert len(kept) == len(real)
    if control == "shuffled":
        assert len(kept) <= len(real)


def test_unverified_does_not_look_at_verdicts() -> None:
    """Which answers are drawn is the same when good and bad ones change places."""
    right = [make_verdict("a", n, 1.0 if n < 4 else 0.0) for n in range(20)]
    wrong = [make_verdict("a", n, 0.0 if n < 16 else 1.0) for n in range(20)]
    first, second = (choose(v, "unverified", **_BAR, seed=3) for v in (right, wrong))
    assert _ids(first) == _ids(second)
    assert len(first) == 2
    assert _ids(choose(right, "unverified", **_BAR, seed=4)) != _ids(first)


def test_unverified_takes_what_the_substance_gate_turns_away() -> None:
    """A program without substance is as good as any."""
    gated = [make_verdict("a", n, 0.0, metadata={"stage": "substance"}) for n in range(9)]
    verdicts = [*gated, make_verdict("b", 0, 1.0)]
    drawn = {_ids(choose(verdicts, "unverified", **_BAR, seed=seed))[0] for seed in range(40)}
    assert len(drawn) > 5


def test_shuffled_rewards_reach_other_answers() -> None:
    """Otherwise the control would be the run itself."""
    verdicts = [make_verdict("ab"[n % 2], n, float(n < 5)) for n in range(20)]
    kept = {tuple(_ids(choose(verdicts, "shuffled", **_BAR, seed=s))) for s in range(10)}
    assert len(kept) > 5
    assert tuple(_ids(select(verdicts, **_BAR, seed=0))) not in kept


def test_compile_only_does_not_tell_right_from_wrong() -> None:
    """What compiles ties with what passes, so the shorter one is kept."""
    verdicts = [make_verdict("a", 0, 1.0, "a long answer"), make_verdict("a", 1, 0.5, "short")]
    verdicts.append(make_verdict("a", 2, 0.3, "s"))
    assert _ids(select(verdicts, **_BAR, seed=0)) == ["a#0"]
    (kept,) = choose(verdicts, "compile-only", **_BAR, seed=0)
    assert kept == verdicts[1]
    assert max(v.result.reward for v in told(verdicts, "compile-only", 0) if v.result) == 0.5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"generation": {"sampling": "adaptive"}}, "generation.sampling = adaptive would tell it"),
        ({"curriculum": {"kind": "adaptive"}}, "curriculum.kind = adaptive would tell it"),
        ({"curriculum": {"retire_at": 0.9}}, "curriculum.retire_at would tell it"),
        ({"shaping": {"kind": "adaptive"}}, "shaping.kind = adaptive would tell it"),
    ],
)
def test_rules_that_read_verdicts_are_refused(settings: dict, said: str) -> None:
    """A control beside them would learn from the verifier after all."""
    with pytest.raises(ValidationError, match=said):
        RaftConfig.model_validate({"raft": {"control": "unverified"}, **settings})
    RaftConfig.model_validate(settings)


def test_compile_only_above_its_ceiling_is_refused() -> None:
    """It would keep nothing, after an hour."""
    loop = {"control": "compile-only", "reward_threshold": 0.7}
    with pytest.raises(ValidationError, match="no reward above"):
        RaftConfig.model_validate({"raft": loop})


def test_faults_are_passed_over() -> None:
    """What could not be judged is in no control's choice."""
    fault = replace(make_verdict("a", 0, 1.0), result=None, fault="no compiler")
    verdicts = [fault, make_verdict("a", 1, 1.0), make_verdict("a", 2, 0.0)]
    for control in ("unverified", "shuffled", "compile-only"):
        assert "a#0" not in _ids(choose(verdicts, control, **_BAR, seed=1))
