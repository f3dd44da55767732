"""Whether a device is there, by when it said that it would speak again; pure.

A device announces with each report how long the next may take. It is *online* until then and a margin for
the link, then *late*, and *offline* once three such times have passed. Waits are measured by a clock that
never goes back: a wrong wall clock makes nobody late.
"""

from __future__ import annotations

ONLINE, LATE, OFFLINE, NEVER = "online", "late", "offline", "never"

MISSED = 3
"""Announced times that pass before a device counts as offline."""


def margin_s(next_s: float) -> float:
    """Return how late a report may be without anybody being told: a quarter, 10 s to 60 s."""
    return min(60.0, max(10.0, next_s / 4))


def presence(silent_s: float, next_s: float) -> str:
    """Return the presence of a device that was last heard of *silent_s* ago."""
    if silent_s <= next_s + margin_s(next_s):
        return ONLINE
    return LATE if silent_s <= MISSED * next_s + margin_s(next_s) else OFFLINE
