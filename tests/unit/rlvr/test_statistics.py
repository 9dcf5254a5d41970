"""Figures of a cycle and of held-out prompts, against a small example by hand."""

from __future__ import annotations

import pytest

from halo_forge.core.types import Reference, TestCase, VerifyResult
from halo_forge.rlvr.statistics import (
    compiled,
    cycle_record,
    heldout_record,
    hidden_passed,
    metrics,
)
from tests.fakes import make_prompt, make_verdict


def _three_prompts():
    return [
        make_verdict("a", 0, 1.0, token_ids=(1, 2), logprobs=(-1.0, -2.0)),
        make_verdict("a", 1, 0.5, token_ids=(1,), logprobs=(0.0,)),
        make_verdict("a", 2, 1.0, "answer 0", token_ids=(1, 2), logprobs=(-0.5, -0.5)),
        make_verdict("b", 0, 0.0, token_ids=(1, 2, 3), logprobs=(-1.0,) * 3),
        make_verdict("b", 1, 0.0, token_ids=(1,), logprobs=(-1.0,), finish_reason="length"),
        make_verdict("c", 0, None, token_ids=(4,), logprobs=(-2.0,)),
        make_verdict("c", 1, 0.3, token_ids=(), logprobs=()),
    ]


def test_cycle_by_hand() -> None:
    """Every figure of a small cycle equals the one counted by hand."""
    verdicts = _three_prompts()
    record = cycle_record(verdicts, [verdicts[0], verdicts[2]])
    assert record == {
        "total_samples": 7,
        "faults": 1,
        "kept": 2,
        "unique_kept": 1,
        "avg_reward": pytest.approx(2.8 / 6),
        "avg_kept_reward": 1.0,
        "success_rate": pytest.approx(2 / 6),
        "compile_rate": pytest.approx(4 / 6),
        "reward_distribution": {"0": 2, "0.3": 1, "0.5": 1, "1": 2},
        "error_classes": {"other": 4},
        "prompts_solved": 1,
        "frac_reward_zero_std": pytest.approx(2 / 3),
        "tokens_generated": 10,
        "truncated": 1,
        "entropy": pytest.approx(10 / 10),
    }


def test_distribution_has_the_rungs_that_occur() -> None:
    """No bucket is empty, and no reward falls between buckets."""
    rewards = [0.2, 0.35, 0.7, 0.7, 1.0]
    verdicts = [make_verdict("a", i, reward) for i, reward in enumerate(rewards)]
    distribution = cycle_record(verdicts, [])["reward_distribution"]
    assert distribution == {"0.2": 1, "0.35": 1, "0.7": 2, "1": 1}
    assert list(distribution) == sorted(distribution, key=float)


def test_nothing_kept_and_nothing_judged() -> None:
    """Means of nothing are absent, not 0."""
    record = cycle_record([make_verdict("a", 0, None, token_ids=(), logprobs=())], [])
    missing = {name for name, value in record.items() if value is None}
    assert missing == {
        "avg_reward",
        "avg_kept_reward",
        "success_rate",
        "compile_rate",
        "frac_reward_zero_std",
        "entropy",
    }
    assert record["faults"] == 1
    assert record["reward_distribution"] == {}


@pytest.mark.parametrize(
    ("reward", "success", "as_compiled"),
    [(0.0, False, False), (0.29, False, False), (0.3, False, True), (0.5, True, True),
     (0.0, True, True)],
)  # fmt: skip
def test_compiled(reward: float, success: bool, as_compiled: bool) -> None:
    """An answer compiles from the rung of warnings on; what succeeds has compiled."""
    assert compiled(VerifyResult(success, reward)) is as_compiled


@pytest.mark.parametrize(
    ("success", "metadata", "passed"),
    [
        (True, {"hidden_passed": 3, "hidden_total": 3}, True),
        (True, {"hidden_passed": 2, "hidden_total": 3}, False),
        (False, {"hidden_passed": 3, "hidden_total": 3}, False),
        (True, {}, True),
        (False, {}, False),
    ],
)
def test_hidden_tests_never_help(success: bool, metadata: dict[str, int], passed: bool) -> None:
    """An answer passes when it passes its own tests and every hidden one."""
    assert hidden_passed(VerifyResult(success, 1.0, metadata=metadata)) is passed


def _heldout(rewards: dict[str, list[float]], **metadata: int):
    return [
        make_verdict(prompt, index, reward, metadata=metadata)
        for prompt, values in rewards.items()
        for index, reward in enumerate(values)
    ]


def test_heldout_by_hand() -> None:
    """A prompt's rate is the mean over its answers, the rate the mean over prompts."""
    record = heldout_record(_heldout({"a": [1.0, 0.5, 0.0, 0.0], "b": [1.0]}), None, seed=1)
    assert record["samples"] == 5
    assert record["pass_rate"]["mean"] == pytest.approx((1 / 4 + 1) / 2)
    assert record["compile_rate"]["mean"] == pytest.approx((2 / 4 + 1) / 2)
    assert record["pass_rate"]["units"] == 2
    assert record["pass_rate"]["low"] == pytest.approx(0.25)
    assert record["pass_rate"]["high"] == pytest.approx(1.0)
    assert record["differences"] == {}
    assert "hidden_pass_rate" not in record


def test_hidden_rate_where_hidden_tests_ran() -> None:
    """The hidden rate is one over the prompts that have hidden tests, with failures counted."""
    probed = make_prompt("b", reference=Reference(hidden_tests=(TestCase("1", "2"),)))
    verdicts = [
        make_verdict("a", 0, 1.0, metadata={"hidden_passed": 2, "hidden_total": 2}),
        make_verdict("a", 1, 1.0, metadata={"hidden_passed": 1, "hidden_total": 2}),
        make_verdict(probed, 0, 0.0),
        make_verdict("without hidden tests", 0, 1.0),
    ]
    record = heldout_record(verdicts, verdicts, seed=0)
    assert record["hidden_pass_rate"]["mean"] == pytest.approx(1 / 4)
    assert record["hidden_pass_rate"]["units"] == 2
    assert record["differences"]["hidden_pass_rate"]["difference"]["units"] == 2
    assert record["pass_rate"]["mean"] == pytest.approx(2 / 3)


def test_differences_are_paired_by_prompt() -> None:
    """Each prompt is compared with itself, whatever the order; four of four up gives p = 1/8."""
    before = _heldout({"d": [0.0, 0.0], "a": [1.0, 0.0], "b": [0.5, 0.0], "c": [0.0, 0.0]})
    after = _heldout({"a": [1.0, 1.0], "b": [1.0, 0.5], "c": [1.0, 0.0], "d": [1.0, 1.0]})
    record = heldout_record(after, before, seed=0)
    difference = record["differences"]["pass_rate"]
    assert difference["difference"]["mean"] == pytest.approx((0.5 + 0.5 + 0.5 + 1.0) / 4)
    assert difference["difference"]["low"] >= 0.5
    assert difference["p_value"] == pytest.approx(2 / 16)
    assert set(record["differences"]) == {"compile_rate", "pass_rate"}


def test_no_change_is_no_evidence() -> None:
    """A policy compared with itself differs by exactly 0, with p = 1."""
    verdicts = _heldout({"a": [1.0, 0.0], "b": [0.5, 0.5]}, hidden_passed=1, hidden_total=1)
    record = heldout_record(verdicts, verdicts, seed=0)
    for name in ("compile_rate", "pass_rate", "hidden_pass_rate"):
        assert record["differences"][name]["difference"]["mean"] == 0
        assert record["differences"][name]["p_value"] == 1.0


def test_no_hidden_tests_no_rate() -> None:
    """Answers that were asked no hidden test do not pass any: there is no such rate."""
    verdicts = _heldout({"a": [1.0, 0.0]}, hidden_passed=0, hidden_total=0)
    assert "hidden_pass_rate" not in heldout_record(verdicts, verdicts, seed=0)


def test_seed_gives_the_same_intervals() -> None:
    """The record is a function of verdicts and seed."""
    verdicts = _heldout({f"p{n}": [1.0, 0.0][: 1 + n % 2] for n in range(7)})
    assert heldout_record(verdicts, None, seed=5) == heldout_record(verdicts[::-1], None, seed=5)


def test_metrics_by_hand() -> None:
    """Trackers get shares and means under the names people know; what is absent is left out."""
    verdicts = _three_prompts()
    record = {
        **cycle_record(verdicts, [verdicts[0], verdicts[2]]),
        "learning_rate": 5e-5,
        "tokens_per_s": None,
        "elapsed_minutes": 0.5,
    }
    assert metrics(record) == {
        "reward": pytest.approx(2.8 / 6),
        "pass_rate": pytest.approx(2 / 6),
        "compile_rate": pytest.approx(4 / 6),
        "frac_reward_zero_std": pytest.approx(2 / 3),
        "entropy": pytest.approx(1.0),
        "learning_rate": 5e-5,
        "kept_fraction": pytest.approx(2 / 7),
        "unique_fraction": 0.5,
        "completions/mean_length": pytest.approx(10 / 7),
        "completions/clipped_ratio": pytest.approx(1 / 7),
        "step_time": 30.0,
    }


def test_no_entropy_is_zero_and_not_minus_zero() -> None:
    """Tokens that were certain have entropy 0, shown without a sign."""
    record = cycle_record([make_verdict("a", 0, 1.0, token_ids=(1,), logprobs=(0.0,))], [])
    assert str(record["entropy"]) == "0.0"
