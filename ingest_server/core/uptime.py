"""Time that counts only while the server runs."""

from __future__ import annotations

from collections.abc import Callable


class Uptime:
    """Seconds that the server has run, over all its runs."""

    def __init__(self, now_s: Callable[[], float], before_s: float) -> None:
        """Begin a run.

        Args:
            now_s: seconds that never go back, from an arbitrary start.
            before_s: how long the runs before this one took together.
        """
        self._now_s = now_s
        self._before_s = before_s
        self._started_s = now_s()

    def now_s(self) -> float:
        return self._before_s + self._now_s() - self._started_s
