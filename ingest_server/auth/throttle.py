"""How often somebody may be wrong about a credential.

256 random bits are not guessed; what this bounds is the work, and the lines in the logs, that wrong
tries cost. A right credential is never made to wait for wrong ones: devices share an address behind
a mobile network, and anybody may write another device's name into a wrong token.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

BURST = 20
"""Wrong tries at once: a device with a revoked token tries on several lanes."""

EVERY_S = 3.0
"""How long it takes until one more is answered in full."""

MOST = 4096
"""Addresses and tokens remembered; the least recent is forgotten first."""


class Throttle:
    """A bucket of tries for each address and each token."""

    def __init__(
        self, now_s: Callable[[], float], *, burst: int = BURST, every_s: float = EVERY_S
    ) -> None:
        self._now_s = now_s
        self._burst = burst
        self._every_s = every_s
        # key -> (failures that count, as of when)
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, *keys: str) -> float | None:
        """Return how long nothing more is heard under one of these keys; None: it is now."""
        now_s = self._now_s()
        with self._lock:
            worst = max(self._counted(key, now_s) for key in keys)
        return (worst + 1 - self._burst) * self._every_s if worst + 1 > self._burst else None

    def failed(self, *keys: str) -> float | None:
        """Count a wrong try under each key; returns seconds to wait where it was one too many.

        A try that has to wait is not counted: whoever keeps trying is answered in the end.
        """
        now_s = self._now_s()
        with self._lock:
            counted = {key: self._counted(key, now_s) for key in keys}
            worst = max(counted.values(), default=0.0)
            if worst + 1 > self._burst:
                return (worst + 1 - self._burst) * self._every_s
            for key, count in counted.items():
                self._failures[key] = (count + 1, now_s)
                self._failures.move_to_end(key)
            while len(self._failures) > MOST:
                self._failures.popitem(last=False)
        return None

    def _counted(self, key: str, now_s: float) -> float:
        count, since_s = self._failures.get(key, (0.0, now_s))
        return max(0.0, count - (now_s - since_s) / self._every_s)
