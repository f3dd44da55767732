"""Whether the wall clock is set, said by others: where a sandbox does not let the agent ask the kernel.

systemd-timesyncd leaves a file; for chrony and all others systemd-timedated asks the kernel and says it over
D-Bus.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from edge_agent.base import busctl
from edge_agent.base.helper import only_helps

_TOUCHED = Path("/run/systemd/timesync/synchronized")
"""By systemd-timesyncd at each answer of its server; gone when that is stopped."""
_BELIEVED_S = 32_000.0
"""After the last answer, as by the kernel: its error grows by 500 us a second, and at 16 s it says so."""
_SERVICE = "org.freedesktop.timedate1"
_QUESTION = ("get-property", _SERVICE, "/org/freedesktop/timedate1", _SERVICE, "NTPSynchronized")
_AGAIN_S = 60.0
_AGAIN_SET_S = 600.0
"""Between two questions: each starts a program, and a set clock seldom loses its server."""
_HOLDS_S = 3_600.0
"""So long a yes holds while nobody answers: who is too busy to answer has not said no."""
_FIRST_S = 1.5
"""So long the first answer is waited for, lest what is said at the start is said of a wrong clock; less than a
hold file may take to be looked at, which asks as well (`send.rules.looking`)."""


class TimeService:
    """Asks in a thread of its own, and answers with what was last said. From any thread."""

    def __init__(self, touched: Path = _TOUCHED) -> None:
        self._touched = touched
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._again_s = float("-inf")
        self._until_s = float("-inf")
        """So long the last yes holds."""

    def is_set(self, now_s: float, *, wall_s: float) -> bool:
        """Return whether somebody sets the clock, which shows *wall_s*; what nobody says counts as no."""
        if self._is_touched(wall_s):
            return True
        with self._lock:
            before = self._asking
            if now_s >= self._again_s and (before is None or not before.is_alive()):
                self._again_s = now_s + _AGAIN_S
                self._asking = threading.Thread(
                    target=self._ask, args=(now_s,), name="time-service", daemon=True
                )
                self._asking.start()
                if before is None:
                    self._asking.join(_FIRST_S)
        return now_s < self._until_s

    def _is_touched(self, wall_s: float) -> bool:
        try:
            age_s = wall_s - self._touched.stat().st_mtime
        except OSError:
            return False
        return 0 <= age_s < _BELIEVED_S  # else somebody has set the clock by hand since

    def _ask(self, now_s: float) -> None:
        with only_helps(
            "timedated",
            instead="what it said last holds for an hour, then the wall time is not believed",
        ):
            said = busctl.ask(_QUESTION)
            if said is None:
                raise TimeoutError("no answer")
            is_set = json.loads(said)["data"] is True
            self._until_s = now_s + _HOLDS_S if is_set else now_s
            if is_set:
                self._again_s = now_s + _AGAIN_SET_S
