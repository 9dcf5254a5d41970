"""When a prompt has had enough answers, by example."""

from __future__ import annotations

import pytest

from halo_forge.config.raft import AdaptiveSettings
from halo_forge.rlvr.budget import Budget, Quota, chance_below, end_after, quota, savings
from tests.fakes import make_verdict

DEFAULT = AdaptiveSettings()


def drawn(word: str) -> dict[int, bool]:
    """Outcomes by index: ``+`` accepted, ``-`` rejected, ``?`` not judged yet."""
    return {index: sign == "+" for index, sign in enumerate(word) if sign != "?"}


@pytest.mark.parametrize(
    ("word", "count", "end"),
    [
        ("", 4, None),
        ("+++", 4, None),
        ("++++", 4, "enough"),
        ("+++-", 8, None),
        ("+++-+?+", 8, None),
        ("+++-++--", 8, "enough"),
        ("----" * 5, 24, None),
        ("----" * 6, 24, "hopeless"),
        ("-" * 23 + "+", 28, None),
        (("-" * 7 + "+") * 3 + "-" * 5, 30, None),
        (("-" * 7 + "+") * 3 + "-" * 6, 30, "spent"),
        ("?+++" + "++++", 4, None),
    ],
)
def test_waves(word: str, count: int, end: str | None) -> None:
    """Waves of four until there are four accepted answers, none in sight, or thirty."""
    assert quota(drawn(word), 30, DEFAULT) == Quota(count, end)


def test_a_small_limit() -> None:
    """A limit below a wave is a wave."""
    assert quota({}, 3, DEFAULT) == Quota(3, None)
    assert quota(drawn("-+-"), 3, DEFAULT) == Quota(3, "spent")


def test_known_chances() -> None:
    """With nothing known every rate is as likely; with nothing accepted it is (1 - r)^(n+1)."""
    assert chance_below(0.3, 0, 0) == pytest.approx(0.3)
    assert chance_below(0.1, 0, 21) == pytest.approx(1 - 0.9**22)
    assert chance_below(0.9, 6, 6) == pytest.approx(0.9**7)


def test_solved_before_enough() -> None:
    """With many accepted answers wanted, a prompt that always succeeds ends as solved."""
    settings = AdaptiveSettings(enough=64)
    assert end_after(20, 20, 64, settings) is None  # 1 - 0.9 ** 21 is 0.89
    assert end_after(22, 22, 64, settings) == "solved"  # 1 - 0.9 ** 23 is 0.91
    assert end_after(22, 23, 64, settings) is None


def test_accepted_is_what_can_be_trained_on() -> None:
    """Cut answers and those below the threshold do not count."""
    verdicts = [
        *(make_verdict(index=i, reward=0.5) for i in range(2)),
        make_verdict(index=2, reward=1.0, finish_reason="length"),
        make_verdict(index=3, reward=0.3),
    ]
    two, three = (Budget(AdaptiveSettings(enough=n), 0.5) for n in (2, 3))
    assert two.quota(verdicts, 8) == Quota(4, "enough")
    assert three.quota(verdicts, 8) == Quota(8, None)


def test_savings() -> None:
    """What was not drawn counts as long as the prompt's mean answer."""
    verdicts = [
        *(make_verdict("a", i, completion="x" * 10) for i in range(4)),
        *(make_verdict("b", i, completion="x" * (20 + 10 * (i % 2))) for i in range(6)),
    ]
    assert savings(verdicts, ("enough", "hopeless"), 8) == {
        "samples_saved": 6,
        "tokens_saved": 4 * 10 + 2 * 25,
        "prompt_ends": {"enough": 1, "solved": 0, "hopeless": 1, "spent": 0},
    }
