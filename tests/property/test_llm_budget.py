"""However answers come and go, a budget is never overdrawn, and no reservation is lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.config.generate import BudgetSettings
from halo_forge.data.llm.budget import Budget, Spent

steps = st.lists(st.tuples(st.booleans(), st.integers(0, 50), st.floats(0, 1)), max_size=60)


@settings(deadline=None)
@given(st.integers(0, 400) | st.none(), st.integers(0, 20) | st.none(), st.integers(0, 300), steps)
def test_budget(tokens: int | None, requests: int | None, before: int, plan: list) -> None:
    """Spent and under way together stay within, unless earlier attempts spent more already."""
    budget = Budget(BudgetSettings(max_tokens=tokens, max_requests=requests), Spent(1, before, 0))
    running: list[int] = []
    for sends, most, share in plan:
        if sends or not running:
            fits = budget.fits(most)
            assert budget.reserve(most) == fits
            if fits:
                running.append(most)
        else:
            most = running.pop(0)
            budget.settle(most, int(most * share) // 2, int(most * share) - int(most * share) // 2)
        if tokens is not None:
            assert budget.spent.tokens + sum(running) <= max(tokens, before)
        if requests is not None:
            assert budget.spent.requests + len(running) <= max(requests, 1)
    for most in running:
        budget.settle(most, 0, 0)
    if tokens is not None and requests is None and budget.spent.tokens <= tokens:
        assert budget.fits(tokens - budget.spent.tokens)
        assert not budget.fits(tokens - budget.spent.tokens + 1)
