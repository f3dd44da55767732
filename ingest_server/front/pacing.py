"""Whoever's short requests compute for long goes on at a pace, while others ask for something, too.

All requests share one interpreter. A create or a complete lets go of it fifty times, for the disk or the
network, and gets it back each time behind whoever computes; so turns are not enough against a device that
asks without a pause for what is cheap. Here each device has a share of the interpreter's time. Once it has
used that, its next request waits, without a thread. Alone, nobody waits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
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
    """Knows what each device has used of late, and whether it is to wait."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Seconds of a processor beyond the share, at a moment; who was here last comes last."""
        self._present: OrderedDict[str, float] = OrderedDict()
        """When the last two were here of those who use little."""
        self._lock = threading.Lock()

    def may_go_on(self, name: str) -> bool:
        """Whether *name* has something left of its share, or is alone."""
        with self._lock:
            now_s = self._now_s()
            return self._used_s(name, now_s) <= AHEAD_S or not self._others_are_there(name, now_s)

    def note(self, name: str, worked_s: float) -> None:
        """Count *worked_s* of a processor for a request of *name*, which has ended."""
        with self._lock:
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

    def _others_are_there(self, name: str, now_s: float) -> bool:
        return any(
            other != name and now_s - at_s < PRESENT_S for other, at_s in self._present.items()
        )
