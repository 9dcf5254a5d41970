"""What the nouns hold, and what they refuse."""

from __future__ import annotations

import dataclasses
import math

import pytest

from halo_forge.core.types import Message, Prompt, TrainingExample, Verdict, VerifyResult
from tests.fakes import make_sample


@pytest.mark.parametrize("reward", [0.0, 0.5, 1.0, 1, 0])
def test_rewards_that_can_be_ranked(reward: float) -> None:
    """The ends of the ladder belong to it."""
    assert VerifyResult(success=False, reward=reward).reward == reward


@pytest.mark.parametrize("reward", [-0.1, 1.0000001, math.nan, math.inf, -math.inf])
def test_rewards_that_cannot(reward: float) -> None:
    """A reward that selection could not rank is refused with its value."""
    with pytest.raises(ValueError, match=r"in \[0, 1\], got " + str(reward)):
        VerifyResult(success=True, reward=reward)


def test_verdict_is_a_judgement_or_a_fault() -> None:
    """Neither and both are refused, with the answer's name."""
    sample, result = make_sample("p", 3), VerifyResult(success=True, reward=1.0)
    assert Verdict(sample, result=result).fault is None
    assert Verdict(sample, fault="no compiler").result is None
    with pytest.raises(ValueError, match="p#3: a verdict has either"):
        Verdict(sample)
    with pytest.raises(ValueError, match="p#3: a verdict has either"):
        Verdict(sample, result=result, fault="no compiler")


def test_names_and_words() -> None:
    """A sample is named by prompt and index; a prompt's text is what the user said last."""
    assert make_sample("p", 3).id == "p#3"
    chat = (Message("system", "s"), Message("user", "first"), Message("user", "last"))
    assert Prompt("p", chat).text == "last"


@pytest.mark.parametrize(("start", "labels"), [(0, [5, 6]), (1, [-100, 6]), (2, [-100, -100])])
def test_labels(start: int, labels: list[int]) -> None:
    """Labels are as long as the tokens, hidden before the completion and equal from there on."""
    assert TrainingExample("p#0", (5, 6), start).labels == labels


def test_nouns_are_frozen() -> None:
    """Nobody changes a noun on its way."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_sample().index = 4  # type: ignore[misc]
