"""The cases that selection was made for."""

from __future__ import annotations

import pytest

from halo_forge.rlvr.selection import select, to_example
from tests.fakes import make_sample, make_verdict


def _kept(verdicts, keep=0.5, threshold=0.5, seed=0) -> list[str]:
    return [v.sample.id for v in select(verdicts, threshold=threshold, keep=keep, seed=seed)]


@pytest.mark.parametrize("text", ["the same", None])
def test_equal_rewards_keep_every_prompt(text: str | None) -> None:
    """Twenty prompts with eight equal answers each keep four of every prompt, not ten prompts."""
    verdicts = [make_verdict(f"p{p:02}", i, 0.5, text) for p in range(20) for i in range(8)]
    kept = _kept(verdicts)
    assert len(kept) == 80
    assert {name.split("#")[0] for name in kept} == {f"p{p:02}" for p in range(20)}


def test_easy_prompt_does_not_push_out_a_hard_one() -> None:
    """One answer at 0.7 to a hard prompt is kept beside eight perfect ones to an easy prompt."""
    easy = [make_verdict("easy", i, 1.0) for i in range(8)]
    hard = [make_verdict("hard", 0, 0.7), *(make_verdict("hard", i, 0.0) for i in range(1, 8))]
    assert "hard#0" in _kept([*easy, *hard], keep=0.1)


def test_lower_rungs_go_once_a_better_one_exists() -> None:
    """A program that only compiles is not trained on beside one that is right."""
    verdicts = [make_verdict("p", 0, 1.0), *(make_verdict("p", i, 0.5) for i in range(1, 8))]
    assert _kept(verdicts, keep=1.0) == ["p#0"]
    assert len(_kept(verdicts[1:], keep=1.0)) == 7


def test_a_cut_answer_shows_that_a_better_one_exists() -> None:
    """Beside one that passes and was cut, one that only compiles is a wrong program."""
    cut = make_verdict("p", 0, 1.0, finish_reason="length")
    wrong = [make_verdict("p", i, 0.5) for i in range(1, 4)]
    assert _kept([cut, *wrong], keep=1.0) == []
    assert _kept(wrong, keep=1.0) == ["p#1", "p#2", "p#3"]
    assert _kept([cut, *wrong, make_verdict("p", 4, 1.0)], keep=1.0) == ["p#4"]


@pytest.mark.parametrize(
    ("keep", "answers", "kept"), [(0.7, 10, 7), (0.29, 100, 29), (0.57, 100, 57), (0.1, 9, 1)]
)
def test_share_is_exact(keep: float, answers: int, kept: int) -> None:
    """0.7 of 10 is 7, though floating point says 6.999...; less than one answer is one."""
    assert len(_kept([make_verdict("p", i) for i in range(answers)], keep=keep)) == kept


def test_tiny_share_keeps_one() -> None:
    """A share written in scientific notation keeps one answer."""
    assert len(_kept([make_verdict("p", i) for i in range(50)], keep=1e-05)) == 1


def test_threshold_itself_is_reached() -> None:
    """An answer at the threshold counts, one just below does not."""
    assert _kept([make_verdict("p", 0, 0.5), make_verdict("q", 0, 0.49999)]) == ["p#0"]


@pytest.mark.parametrize("fields", [{"finish_reason": "length"}, {"reward": None}])
def test_cut_off_answers_and_faults_are_never_kept(fields: dict[str, object]) -> None:
    """An answer that was cut, or could not be judged, is not trained on and takes no place."""
    spoiled = [make_verdict("p", i, **fields) for i in range(4)]
    assert _kept(spoiled, threshold=0.0, keep=1.0) == []
    good = [make_verdict("p", i, 1.0) for i in range(4, 6)]
    assert len(_kept([*spoiled, *good], keep=0.5)) == 1  # half of two, not of six


def test_ties_first_by_not_a_repeat() -> None:
    """A longer answer that is new goes before a repeat; layout alone makes no new answer."""
    verdicts = [
        make_verdict("p", 0, 1.0, "a b", token_ids=(1,)),
        make_verdict("p", 1, 1.0, "a\n  b", token_ids=(1, 1)),
        make_verdict("p", 2, 1.0, "something else", token_ids=(1,) * 9),
        make_verdict("p", 3, 1.0, "a b", token_ids=(1,)),
    ]
    assert "p#2" in _kept(verdicts, keep=0.5)
    assert len(_kept(verdicts, keep=0.5)) == 2


def test_ties_then_by_length() -> None:
    """Of new answers the shorter one is kept, counted in tokens."""
    lengths = [7, 3, 9, 5]
    verdicts = [
        make_verdict("p", i, 1.0, f"{i}", token_ids=(1,) * n) for i, n in enumerate(lengths)
    ]
    assert _kept(verdicts, keep=0.5) == ["p#1", "p#3"]


def test_ties_last_by_seed() -> None:
    """Equal in all else, the seed decides; always alike, and not by position."""
    verdicts = [make_verdict("p", i, 1.0, f"{i}") for i in range(8)]
    first = {tuple(_kept(verdicts, keep=0.125, seed=seed)) for seed in range(20)}
    assert len(first) > 4
    assert _kept(verdicts, seed=3) == _kept(verdicts, seed=3)


def test_kept_in_a_fixed_order() -> None:
    """The result is sorted by prompt and index, numbers as numbers."""
    verdicts = [make_verdict(p, i, 1.0) for p in ("b", "a") for i in (10, 2)]
    assert _kept(verdicts, keep=1.0) == ["a#2", "a#10", "b#2", "b#10"]


def test_nothing_in_nothing_out() -> None:
    """No verdicts, or none that is good enough, keep nothing."""
    assert _kept([]) == []
    assert _kept([make_verdict("p", 0, 0.3)]) == []


def test_loss_is_on_the_completion_and_its_end_token_only() -> None:
    """Labels are -100 exactly over the prompt; every sampled token follows, the end token last."""
    sample = make_sample(
        "p", 4, prompt_ids=(9, 8, 7), token_ids=(5, 9, 2), logprobs=(-1.0, -0.5, 0.0)
    )
    example = to_example(sample)
    assert example.id == "p#4"
    assert example.input_ids == (9, 8, 7, 5, 9, 2)
    assert example.labels == [-100, -100, -100, 5, 9, 2]
    assert example.logprobs == (-1.0, -0.5, 0.0)
