"""A rate limit as a token bucket: smooth, and with little to save up while nothing is sent."""

from __future__ import annotations

_BURST_S = 0.25
"""Seconds of the rate that may be saved up: short enough that a radio link sees no bursts."""


class Pace:
    """Says how long to wait before the next bytes may go.

    Raises:
        ValueError: the rate is not positive.
    """

    def __init__(self, bytes_per_s: float) -> None:
        if bytes_per_s <= 0:
            msg = f"not a rate: {bytes_per_s} bytes/s"
            raise ValueError(msg)
        self.bytes_per_s = bytes_per_s
        self._tokens = bytes_per_s * _BURST_S
        self._at_s: float | None = None

    def delay_s(self, wanted: int, now_s: float) -> float:
        """Take *wanted* bytes and return the seconds to wait before sending them.

        The debt is carried over, so whoever waits as told keeps the rate whatever the piece size.
        """
        if self._at_s is not None:
            earned = (now_s - self._at_s) * self.bytes_per_s
            self._tokens = min(self.bytes_per_s * _BURST_S, self._tokens + earned)
        self._at_s = now_s
        self._tokens -= wanted
        return max(0.0, -self._tokens / self.bytes_per_s)

    def piece_bytes(self, largest: int) -> int:
        """Return the size of a piece that makes no pause much longer than a burst."""
        return max(1, min(largest, max(1024, int(self.bytes_per_s * _BURST_S))))
