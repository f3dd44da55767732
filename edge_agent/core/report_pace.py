"""When a device reports to the server, and how many bytes of its link that may take.

Without a meter on the link reports are cheap and operators want to see; with one, bytes cost money: what
is told then keeps to a budget of bytes, and only what a person would act on is told before its hour.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from edge_agent.core.median import median

_HOUR_S = 3600.0
_FOR_HEARTBEATS = 0.85
"""Of what an idle device may use: the rest is for a state told anew, and for connections that were lost."""


@dataclass(frozen=True, slots=True)
class ReportTiming:
    """Every duration and budget of the reports."""

    interval_s: float = 30.0
    """Between two reports while something is sent, and at least between two of what has changed."""
    metered_interval_s: float = 300.0
    heartbeat_s: float = 120.0
    """Between two reports while nothing happens."""
    metered_heartbeat_s: float = 3600.0
    soon_s: float = 2.0
    """Between a report and the answer to what the server or a person asked for."""
    look_gap_s: float = 5.0
    """Between two looks that told nothing: each costs a database query."""
    metered_bytes_per_hour: int = 200_000
    """Of a metered link, while something is sent."""
    idle_bytes_per_hour: int = 20_000
    """Of any link, while nothing is sent and nothing happens."""

    def at_interval(self, interval_s: float) -> ReportTiming:
        """Return the same with another interval, which the rarer ones are never shorter than."""
        usual = ReportTiming()
        return replace(
            self,
            interval_s=interval_s,
            metered_interval_s=max(interval_s, usual.metered_interval_s),
            heartbeat_s=max(interval_s, usual.heartbeat_s),
            metered_heartbeat_s=max(interval_s, usual.metered_heartbeat_s),
        )


@dataclass(frozen=True, slots=True)
class Doing:
    """What decides on the pace."""

    is_busy: bool = False
    """Something is being sent."""
    is_metered: bool = False


class ByteBudget:
    """Bytes of an hour, of which half may be saved up: so no hour has more than its limit and one message."""

    def __init__(self) -> None:
        self._left: float | None = None
        self._at_s = 0.0

    def spend(self, spent: int, per_hour: int, now_s: float) -> None:
        self._left = max(-per_hour / 2, self._now_left(per_hour, now_s) - spent)

    def wait_s(self, per_hour: int, now_s: float) -> float:
        """Return the seconds until something may be spent again; 0: now."""
        left = self._now_left(per_hour, now_s)
        return 0.0 if left > 0 else max(1.0, -left * _HOUR_S * 2 / per_hour)

    def _now_left(self, per_hour: int, now_s: float) -> float:
        half = per_hour / 2
        earned = half * (now_s - self._at_s) / _HOUR_S
        self._left = half if self._left is None else min(half, self._left + earned)
        self._at_s = now_s
        return self._left


class ReportPace:
    """Of one server. `changed` and `hurry` may be called from any thread, all else from one."""

    def __init__(self, timing: ReportTiming) -> None:
        self.timing = timing
        self._budget = ByteBudget()
        self._doing = Doing()
        self._costs: deque[int] = deque(maxlen=5)
        """Of the last reports that told nothing new."""
        self._is_changed = False
        self._is_urgent = True
        self._told_s: float | None = None
        self._looked_s = float("-inf")
        self._next_s = 0.0
        self._retry_at_s = float("-inf")

    def changed(self) -> bool:
        """Say that a look would find something new; return whether that was not known yet."""
        was, self._is_changed = self._is_changed, True
        return not was

    def hurry(self) -> None:
        """Say that somebody waits for the next report."""
        self._is_urgent = True

    def tell_every(self, interval_s: float) -> None:
        """Tell so often while something goes on, from the next report on; from any thread."""
        self.timing = self.timing.at_interval(interval_s)

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until a look is due; 0: now."""
        return max(0.0, self._retry_at_s - now_s, self._due_s(now_s) - now_s)

    def _due_s(self, now_s: float) -> float:
        if self._told_s is None:
            return now_s
        due = self._told_s + self._next_s
        if self._is_urgent:
            due = min(due, max(self._told_s + self.timing.soon_s, self._affordable_s(now_s)))
        if self._is_changed:
            gap = self._of_link(self.timing.interval_s, self.timing.metered_interval_s)
            looked = self._looked_s + self.timing.look_gap_s
            due = min(due, max(self._told_s + gap, looked, self._affordable_s(now_s)))
        return due

    def look(self, doing: Doing, now_s: float) -> None:
        """Say what is found now; what changes from here on is another change."""
        self._is_changed = False
        self._doing, self._looked_s = doing, now_s

    def is_due(self, now_s: float, *, is_news: bool) -> bool:
        """Return whether what was found is to be told now; not: there is no news, and it is not its hour."""
        is_time = self._told_s is None or now_s >= self._told_s + self._next_s
        return is_news or is_time or self._is_urgent

    def next_s(self) -> float:
        """Return the longest time from a report of now to the next one."""
        timing = self.timing
        if self._doing.is_busy:
            return self._of_link(timing.interval_s, timing.metered_interval_s)
        if self._doing.is_metered:
            return timing.metered_heartbeat_s
        of_heartbeats = timing.idle_bytes_per_hour * _FOR_HEARTBEATS
        afforded = median(self._costs or (0,)) * _HOUR_S / of_heartbeats
        return max(timing.heartbeat_s, afforded)

    def begin(self) -> None:
        """Say that a report goes out: what is urgent from here on is so for the next one."""
        self._is_urgent = False

    def told(self, cost: int, now_s: float, *, next_s: float, is_news: bool) -> None:
        """Say that a report of *cost* bytes was answered, which announced *next_s*."""
        if not is_news:
            self._costs.append(cost)
        self._spend(cost, now_s)
        self._told_s, self._next_s = now_s, next_s
        self._retry_at_s = float("-inf")

    @property
    def is_metered(self) -> bool:
        return self._doing.is_metered

    def spend(self, cost: int, now_s: float) -> None:
        """Say that *cost* bytes went beside the reports."""
        self._spend(cost, now_s)

    def affordable_in_s(self, now_s: float) -> float:
        """Return the seconds until something beside the reports may go; 0: now."""
        return max(0.0, self._retry_at_s - now_s, self._affordable_s(now_s) - now_s)

    def failed(self, cost: int, now_s: float, *, wait_s: float) -> None:
        """Say that a report came to nothing, and after how long it may be tried again."""
        self._spend(cost, now_s)
        self._is_urgent = True
        self._retry_at_s = now_s + wait_s

    def retry_now(self) -> None:
        """Say that whatever made reports fail may be over; from any thread."""
        self._retry_at_s = float("-inf")

    def _spend(self, cost: int, now_s: float) -> None:
        if self._doing.is_metered:
            self._budget.spend(cost, self._per_hour(), now_s)

    def _affordable_s(self, now_s: float) -> float:
        if not self._doing.is_metered:
            return now_s
        return now_s + self._budget.wait_s(self._per_hour(), now_s)

    def _per_hour(self) -> int:
        timing = self.timing
        return timing.metered_bytes_per_hour if self._doing.is_busy else timing.idle_bytes_per_hour

    def _of_link(self, usual: float, metered: float) -> float:
        return metered if self._doing.is_metered else usual
