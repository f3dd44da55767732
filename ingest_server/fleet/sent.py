"""How fast a device sent, by its own count of bytes; pure.

The rate that a device tells is of the moment in which it reports. What it sends between two reports, or in one
burst that is over by then, is in its count alone.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_S = 60.0


@dataclass(slots=True)
class Sent:
    """What was counted since the rate was asked for last."""

    total: int | None = None
    told_s: float = 0.0
    """When that was told; the bytes that are counted came after `since_s`."""
    since_s: float = 0.0
    counted: int | None = None
    """None: nothing was told since."""

    def tell(self, total: int | None, now_s: float) -> None:
        """Take the count as a device tells it; one that falls has begun anew."""
        if total is None:
            return
        if self.total is not None:
            if self.counted is None:
                self.counted, self.since_s = 0, self.told_s
            self.counted += max(0, total - self.total)
        self.total, self.told_s = total, now_s

    def take(self) -> int | None:
        """Return the bytes a second since the time before; None: no report said it meanwhile.

        Over a minute at least: two reports that follow each other at once make no peak.
        """
        counted, self.counted = self.counted, None
        return None if counted is None else int(counted / max(MINUTE_S, self.told_s - self.since_s))
