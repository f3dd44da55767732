"""How fast bytes may leave, all lanes together, and how many have left."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.reasons import Reason
from edge_agent.base.view import Wait
from edge_agent.core.pacing import Pace

_LATELY_S = 3.0

_NAMED_PAUSE_S = 0.5
"""A pause of the rate limit that is longer is named; shorter ones are just slow sending."""


class Throttle:
    """Safe to use from several lanes at once.

    Args:
        pause: sleeps; must end early when the agent stops.
    """

    def __init__(
        self, activity: Activity, clock: Clock, *, pause: Callable[[float], object]
    ) -> None:
        self._activity = activity
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._pace: Pace | None = None
        self._held_back_s = float("-inf")
        self.sent = 0
        """Bytes handed to the system, by all lanes, ever."""

    def limit(self, bytes_per_s: float | None) -> None:
        """Keep to *bytes_per_s* from the next piece on; None: as fast as it goes."""
        with self._lock:
            if bytes_per_s is None:
                self._pace = None
            elif self._pace is None or self._pace.bytes_per_s != bytes_per_s:
                self._pace = Pace(bytes_per_s)

    @property
    def is_held_back(self) -> bool:
        """Whether the rate limit, and not the link, made a body wait lately."""
        return self._clock.now_s() - self._held_back_s < _LATELY_S

    def piece_bytes(self, most: int) -> int | None:
        """Return how large a piece, up to *most*, keeps the allowed rate even; None: none is set."""
        with self._lock:
            return None if self._pace is None else self._pace.piece_bytes(most)

    def within(self, rate: float | None) -> float | None:
        """Return *rate* as far as it is allowed: what was saved up at the start is no rate."""
        with self._lock:
            if rate is None or self._pace is None:
                return rate
            return min(rate, self._pace.bytes_per_s)

    def wait_for(self, count: int) -> None:
        """Wait until *count* bytes may leave; a wait that a person would notice has its reason."""
        with self._lock:
            pace = self._pace
            if pace is None:
                return
            now_s = self._clock.now_s()
            delay_s = pace.delay_s(count, now_s)
        if delay_s <= 0:
            return
        self._held_back_s = now_s
        if delay_s > _NAMED_PAUSE_S:
            detail = f"the rate is limited to {pace.bytes_per_s:.0f} bytes/s"
            self._activity.block(Wait(Reason.BANDWIDTH, detail, now_s + delay_s))
        self._pause(delay_s)
        self._activity.block(None)

    def count(self, sent: int) -> None:
        """Say that so many bytes were handed to the system."""
        with self._lock:
            self.sent += sent
