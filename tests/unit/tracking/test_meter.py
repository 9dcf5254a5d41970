"""The arithmetic and the words of a stage's progress, on a clock that the test turns."""

from __future__ import annotations

import pytest

from halo_forge.tracking.console import Herald
from halo_forge.tracking.meter import PATIENCE, Meter, clock_text


class Hands:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hands:
    """A clock at a hundred seconds."""
    return Hands()


def test_rate_counts_this_attempt_only(clock: Hands) -> None:
    """What an earlier attempt did is done, but says nothing about the speed of this one."""
    meter = Meter("generate", 100, 40, "samples", clock)
    clock.now += 10
    meter.advance(20, pass_rate=0.412)

    assert meter.rate == 2.0
    assert meter.remaining == 20.0
    assert meter.progress_text() == "60/100 samples, 2.0/s, pass rate 41.2%, ETA 00:20"


def test_nothing_is_promised_before_the_first_unit(clock: Hands) -> None:
    """No rate and no remaining time without a finished unit."""
    meter = Meter("train", 8, 0, "steps", clock)
    clock.now += 5

    assert meter.remaining is None
    assert meter.progress_text() == "0/8 steps"


def test_unknown_total(clock: Hands) -> None:
    """Without a total the count stands alone; slow units are given in seconds."""
    meter = Meter("verify", None, 0, "", clock)
    clock.now += 8
    meter.advance(2, tokens_per_s=95.25, reward=0.5)

    assert meter.progress_text() == "2, 4.0 s each, 95.25 tokens/s, reward 0.5"


def test_more_than_the_total(clock: Hands) -> None:
    """A stage that does more than it planned has no negative time left."""
    meter = Meter("verify", 2, 0, "", clock)
    clock.now += 1
    meter.advance(3)

    assert meter.remaining == 0


def test_final_words(clock: Hands) -> None:
    """The end says how much in what time."""
    meter = Meter("train", 8, 0, "steps", clock)
    clock.now += 3725
    meter.advance(8)

    assert meter.final_text() == "8/8 steps in 1:02:05"


def test_silence_is_told(clock: Hands) -> None:
    """After five minutes without a unit the progress says so."""
    meter = Meter("generate", 9, 0, "samples", clock)
    clock.now += PATIENCE

    assert meter.progress_text() == "0/9 samples, nothing finished for 05:00"


def test_herald_speaks_of_news_and_of_long_silence(clock: Hands) -> None:
    """One line for what moved, none for nothing new, one for each five silent minutes."""
    meter = Meter("generate", 9, 0, "samples", clock)
    herald = Herald(meter)

    assert herald.line() is None
    meter.advance()
    clock.now += 30
    assert (herald.line() or "").startswith("generate: 1/9 samples")
    assert herald.line() is None
    clock.now += PATIENCE
    assert "nothing finished for 05:30" in (herald.line() or "")
    clock.now += 30
    assert herald.line() is None
    clock.now += PATIENCE
    assert "nothing finished for 11:00" in (herald.line() or "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00"), (59.6, "01:00"), (3599, "59:59"), (3600, "1:00:00")]
)
def test_clock_text(seconds: float, text: str) -> None:
    """Hours appear when there are any."""
    assert clock_text(seconds) == text
