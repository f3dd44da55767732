"""The machine's clocks: monotonic for every wait, wall time for people."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now_s(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        ...

    def now_utc(self) -> datetime:
        """Return the wall time, aware, in UTC: for people, never for a decision."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now_s(self) -> float:
        return time.monotonic()

    def now_utc(self) -> datetime:
        return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Return *moment* as ``2026-11-21T10:00:00Z``, to the second."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
