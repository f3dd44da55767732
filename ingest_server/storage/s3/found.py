"""What was found in the store a moment ago, and is not asked for again with each request: a round trip each."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

RECENT_S = 10.0
"""As long as a probe of the store is good for."""
MOST = 4096


class RecentlyFound:
    """Names, each with when it was found last; used from any thread."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._found: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, name: str) -> None:
        with self._lock:
            self._found[name] = self._now_s()
            self._found.move_to_end(name)
            if len(self._found) > MOST:
                self._found.popitem(last=False)

    def is_recent(self, name: str) -> bool:
        with self._lock:
            at_s = self._found.get(name)
        return at_s is not None and self._now_s() - at_s < RECENT_S

    def forget(self, name: str) -> None:
        with self._lock:
            self._found.pop(name, None)
