"""How fast, how far, how long still."""

from __future__ import annotations

import math

_HALF_LIFE_S = 10.0
"""A sample of this age counts half: steadier than one request, quicker than a flight."""

_SHORTEST_S = 1e-3
"""Below this a duration says more about the clock than about the link."""


class Rate:
    """Acknowledged bytes per second, as a mean that forgets.

    Weighted by time, not by count: ten small requests in a second move it as much as a large one.
    """

    def __init__(self) -> None:
        self._bytes = 0.0
        self._seconds = 0.0

    @property
    def bytes_per_s(self) -> float | None:
        """None before the first sample."""
        return self._bytes / self._seconds if self._seconds > 0 else None

    def add(self, acknowledged: int, took_s: float) -> None:
        """Count *acknowledged* bytes (0 for a request that broke at once) over *took_s*."""
        took_s = max(took_s, _SHORTEST_S)
        kept = math.pow(0.5, took_s / _HALF_LIFE_S)
        self._bytes = self._bytes * kept + acknowledged
        self._seconds = self._seconds * kept + took_s


def eta_s(left: int, rate_bytes_per_s: float | None) -> float | None:
    """Return the seconds for *left* bytes at that rate; None while the rate is unknown or zero."""
    if not rate_bytes_per_s:
        return None
    return left / rate_bytes_per_s
