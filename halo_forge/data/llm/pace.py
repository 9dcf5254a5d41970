"""Keeps requests apart, so that a service which counts them by the minute refuses none."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pace"]

_MINUTE = 60.0


class Pace:
    """Lets one request through after the other, evenly spaced.

    Attempts that the package makes anew after a refusal are not counted.

    Args:
        per_minute: Requests in a minute; without a number nothing waits.
        clock: Seconds that never go back.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        per_minute: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap = _MINUTE / per_minute if per_minute else 0.0
        self._clock, self._sleep = clock, sleep
        self._next = clock()

    def wait(self) -> None:
        """Return when the next request may be sent."""
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + self._gap
