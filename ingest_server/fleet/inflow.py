"""How much is taken of one device over a broker, which refuses nobody for coming often; pure.

What says how a device is may be left out: a newer one follows. What happened there is taken as long as a
device that was away for weeks may have it to tell, and no longer: of one gone mad neither the database nor
a core is full.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SAY_AGAIN_S = 600.0


@dataclass(slots=True)
class TokenBucket:
    """So many at once, and so many a second afterwards."""

    most: float
    per_s: float
    left: float = field(init=False)
    at_s: float = 0.0

    def __post_init__(self) -> None:
        self.left = self.most

    def take(self, now_s: float) -> bool:
        """Count one in; False: there were too many lately."""
        self.left = min(self.most, self.left + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class Inflow:
    """Of one device."""

    happenings: TokenBucket = field(default_factory=lambda: TokenBucket(12_000, 5.0))
    """Its outbox holds 10,000, and goes at once when it is back."""
    sayings: TokenBucket = field(default_factory=lambda: TokenBucket(60, 2.0))
    left_out: int = 0
    """Messages since that was said last."""
    said_s: float = float("-inf")

    def complain(self, now_s: float) -> int:
        """Count one that is left out; return how many there are to be told of now, 0: it is told already."""
        self.left_out += 1
        if now_s - self.said_s < SAY_AGAIN_S:
            return 0
        told, self.left_out, self.said_s = self.left_out, 0, now_s
        return told
