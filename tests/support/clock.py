"""A device's clocks in virtual time: waiting costs nothing, and wall time stands in 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class VirtualClock:
    """Monotonic time moves when a test, a link or a pause moves it."""

    def __init__(self, *, wall: datetime = datetime(1970, 1, 1, tzinfo=UTC)) -> None:
        self._now_s = 1000.0
        self._wall = wall
        self.synchronised = False

    def now_s(self) -> float:
        return self._now_s

    def now_utc(self) -> datetime:
        return self._wall + timedelta(seconds=self._now_s - 1000.0)

    def is_synchronised(self) -> bool:
        return self.synchronised

    def pass_s(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("time does not go back")
        self._now_s += seconds

    def set_wall_forward(self, *, years: int) -> None:
        """Do what NTP does to a board that booted in the past."""
        self._wall = self._wall.replace(year=self._wall.year + years)
        self.synchronised = True
