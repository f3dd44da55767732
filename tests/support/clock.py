"""A device's clocks in virtual time: waiting costs nothing, and wall time stands in 1970.

Give one `VirtualClock` to everything under test, as its clock, and to the `Link` between; then a test
is a loop that steps a worker and lets the seconds pass which the step asks for:

    clock = VirtualClock()
    for _ in range(100):
        clock.pass_s(worker.step(clock.now_s()))

Both clocks go on together. Only `set_wall_forward` and `set_wall` move one of them alone, as NTP does on a
board that booted in 1970, and `reboot` the other. No thread may wait on real time meanwhile: it would not notice that any has passed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class VirtualClock:
    """Monotonic time moves when a test, a link or a pause moves it.

    Args:
        wall: what the wall clock says at first; it is not `synchronised` until it is set.
    """

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
        """Let *seconds* pass, on both clocks.

        Raises:
            ValueError: they are negative.
        """
        if seconds < 0:
            raise ValueError("time does not go back")
        self._now_s += seconds

    def set_wall_forward(self, *, years: int) -> None:
        """Do what NTP does to a board that booted in the past."""
        self._wall = self._wall.replace(year=self._wall.year + years)
        self.synchronised = True

    def set_wall(self, wall: datetime, *, synchronised: bool) -> None:
        """Let the wall clock say *wall* now, whatever it said before."""
        self._wall = wall - timedelta(seconds=self._now_s - 1000.0)
        self.synchronised = synchronised

    def reboot(self) -> None:
        """Begin the monotonic clock anew; the wall clock goes on, as with a battery."""
        wall = self.now_utc()
        self._now_s = 10.0
        self.set_wall(wall, synchronised=self.synchronised)
