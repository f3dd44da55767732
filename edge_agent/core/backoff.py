"""How long to wait after failures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Bounds of the wait between attempts.

    Raises:
        ValueError: not ``0 < base_s <= cap_s``.
    """

    base_s: float = 1.0
    cap_s: float = 60.0
    """A drone that is back in range must not sit out minutes."""

    def __post_init__(self) -> None:
        if not 0 < self.base_s <= self.cap_s:
            msg = f"not a backoff policy: base {self.base_s} s, cap {self.cap_s} s"
            raise ValueError(msg)

    def delay_s(self, failures: int, *, jitter: float) -> float:
        """Return the seconds to wait after *failures* consecutive failures.

        ``jitter * min(cap, base * 2**(failures - 1))``: capped exponential backoff with full jitter
        (Brooker, "Exponential Backoff And Jitter", 2015).

        Args:
            failures: consecutive failures so far, at least 1.
            jitter: a draw from ``[0, 1)``; the caller owns the randomness.
        """
        return jitter * self.ceiling_s(failures)

    def ceiling_s(self, failures: int) -> float:
        """Return the longest wait that `delay_s` can give after *failures*."""
        exponent = min(max(failures, 1) - 1, 32)  # 2**32 s is past any cap; no overflow
        return min(self.cap_s, self.base_s * 2.0**exponent)
