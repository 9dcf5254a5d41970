"""The rule that ends a prompt: what holds for all verdicts, limits and settings."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from halo_forge.config.raft import AdaptiveSettings
from halo_forge.rlvr.budget import chance_below, end_after, quota

_settings = st.builds(
    AdaptiveSettings,
    wave=st.integers(1, 7),
    enough=st.integers(1, 12),
    solved_rate=st.floats(0.55, 0.99),
    hopeless_rate=st.floats(0.01, 0.45),
    confidence=st.floats(0.5, 0.99),
)
_outcomes = st.lists(st.booleans(), min_size=40, max_size=40)
_limits = st.integers(1, 40)


@given(_outcomes, _limits, _settings)
def test_a_quota_is_whole_waves_within_the_limit(outcomes, limit, settings):
    """A prompt gets whole waves, or all; and it ends, once everything is known."""
    found = quota(dict(enumerate(outcomes)), limit, settings)
    assert found.end is not None
    assert 1 <= found.count <= limit
    assert found.count % settings.wave == 0 or found.count == limit
    if found.end == "spent":
        assert found.count == limit


@given(_outcomes, _limits, _settings, st.lists(st.booleans(), min_size=40, max_size=40))
def test_only_what_was_drawn_counts(outcomes, limit, settings, others):
    """Answers beyond those that a prompt has cannot change what it has."""
    found = quota(dict(enumerate(outcomes)), limit, settings)
    changed = outcomes[: found.count] + others[found.count :]
    assert quota(dict(enumerate(changed)), limit, settings) == found
    assert quota(dict(enumerate(outcomes[: found.count])), limit, settings) == found


@given(_outcomes, _limits, _settings, st.randoms(use_true_random=False))
def test_asking_on_the_way_asks_for_nothing_else(
    outcomes: list[bool], limit: int, settings: AdaptiveSettings, order: random.Random
) -> None:
    """Verdicts come in any order, and it is asked again after each: never more is wanted."""
    final = quota(dict(enumerate(outcomes)), limit, settings)
    known: dict[int, bool] = {}
    while (now := quota(known, limit, settings)).end is None:
        assert now.count <= final.count
        missing = [index for index in range(now.count) if index not in known]
        index = order.choice(missing)
        known[index] = outcomes[index]
    assert now == final
    assert known.keys() == set(range(final.count))


@given(st.integers(0, 30), st.integers(0, 30), st.floats(0.01, 0.99))
def test_the_posterior_is_a_beta_distribution(accepted, rejected, rate):
    """The sum agrees with the integral of the posterior's density."""
    drawn = accepted + rejected
    grid = np.linspace(0, 1, 20_001)
    middle = (grid[1:] + grid[:-1]) / 2
    density = middle**accepted * (1 - middle) ** rejected
    below = density[middle < rate].sum() / density.sum()
    assert chance_below(rate, accepted, drawn) == pytest.approx(below, abs=3e-3)


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.01, 0.99))
def test_more_accepted_answers_speak_against_a_low_rate(accepted, rejected, rate):
    """One more accepted answer makes a low rate less likely, one more rejected likelier."""
    drawn = accepted + rejected
    now = chance_below(rate, accepted, drawn)
    assert 0 <= now <= 1 + 1e-12
    assert chance_below(rate, accepted + 1, drawn + 1) <= now + 1e-12
    assert chance_below(rate, accepted, drawn + 1) >= now - 1e-12


@given(_settings, st.integers(1, 40))
def test_solved_and_hopeless_are_what_they_say(settings, drawn):
    """All rejected never ends as solved; all accepted never as hopeless."""
    assert end_after(0, drawn, 99, settings) in {None, "hopeless"}
    more_wanted = settings.model_copy(update={"enough": drawn + 1})
    assert end_after(drawn, drawn, 99, more_wanted) in {None, "solved"}
