"""Whether the wall clock was set: a board without a battery begins in 1970, and NTP comes later."""

from __future__ import annotations

from edge_host.clock import Clock

SET_S = 2.0
"""By which it was set, and did not only drift since it was looked at."""


class WallClock:
    """Asked now and then."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_s = self._ahead()

    def was_set(self) -> bool:
        """Return whether it was set since the last time that this said so."""
        ahead_s = self._ahead()
        if abs(ahead_s - self._ahead_s) < SET_S:
            return False
        self._ahead_s = ahead_s
        return True

    def _ahead(self) -> float:
        return self._clock.now_utc().timestamp() - self._clock.now_s()
