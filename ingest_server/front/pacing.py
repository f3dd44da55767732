"""Whoever's short requests compute for long lets the others go first.

All requests share one interpreter. A create or a complete lets go of it fifty times, for the disk or the
network, and gets it back each time behind whoever computes; so turns are not enough against a device that
asks without a pause for what is cheap. Here each device has a share of the interpreter's time. Once it has
used that, its requests wait, without a thread, while somebody's runs who uses little, and go on one at a time
in between. Alone, nobody waits.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable

SHARE = 0.1
"""Of one processor, for the short requests of one device. A device that sends recordings uses a hundredth."""
AHEAD_S = 0.05
"""What it may have used beyond its share before it waits: an agent that starts asks for many things at once."""
DEBT_S = 0.3
"""At most it owes so much: what it used while nobody else was there is soon forgotten."""
PRESENT_S = 1.0
"""So long after its last request, somebody who uses little counts as being there."""
MOST_KNOWN = 4096


class Pacing:
    """Knows what each device has used of late, whose requests run, and whose are to wait."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Seconds of a processor beyond the share, at a moment; who was here last comes last."""
        self._present: OrderedDict[str, float] = OrderedDict()
        """When the last two were here of those who use little."""
        self._first: Counter[str] = Counter()
        """Requests that run of devices which had something left of their share."""
        self._between: Counter[str] = Counter()
        """Those that run in between, of devices which had not."""
        self._lock = threading.Lock()

    def may_begin(self, name: str) -> bool:
        """Begin a request of *name*, unless it is to wait; `ended` ends it."""
        with self._lock:
            now_s = self._now_s()
            if self._used_s(name, now_s) <= AHEAD_S:
                self._first[name] += 1
                return True
            if self._first.total() > self._first[name]:
                return False
            if self._between[name] and self._others_were_here(name, now_s):
                return False
            self._between[name] += 1
            return True

    def ended(self, name: str, worked_s: float) -> None:
        """End a request of *name*, which took *worked_s* of a processor."""
        with self._lock:
            running = self._between if self._between[name] else self._first
            running[name] -= 1
            if running[name] <= 0:
                del running[name]
            now_s = self._now_s()
            used_s = min(self._used_s(name, now_s) + worked_s, AHEAD_S + DEBT_S)
            self._used[name] = used_s, now_s
            self._used.move_to_end(name)
            if len(self._used) > MOST_KNOWN:
                self._used.popitem(last=False)
            if used_s <= AHEAD_S:
                self._present[name] = now_s
                self._present.move_to_end(name)
                if len(self._present) > 2:
                    self._present.popitem(last=False)

    def _used_s(self, name: str, now_s: float) -> float:
        used_s, at_s = self._used.get(name, (0.0, now_s))
        return max(0.0, used_s - SHARE * (now_s - at_s))

    def _others_were_here(self, name: str, now_s: float) -> bool:
        return any(
            other != name and now_s - at_s < PRESENT_S for other, at_s in self._present.items()
        )
