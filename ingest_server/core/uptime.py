"""Time that counts only while the server runs."""

from __future__ import annotations

from collections.abc import Callable


class Uptime:
    """Seconds that the server has run, over all its runs; of servers that share their facts, that any has."""

    def __init__(self, now_s: Callable[[], float], before_s: float) -> None:
        """Begin a run.

        Args:
            now_s: seconds that never go back, from an arbitrary start.
            before_s: how long the runs before this one took together.
        """
        self._now_s = now_s
        self._before_s = before_s
        self._started_s = now_s()

    def catch_up(self, there_s: float) -> None:
        """Go on from *there_s* where this is behind: others ran while this process stood still."""
        self._before_s += max(0.0, there_s - self.now_s())

    def now_s(self) -> float:
        return self._before_s + self._now_s() - self._started_s
