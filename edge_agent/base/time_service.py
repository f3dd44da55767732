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
_AGAIN_S = {False: 60.0, True: 600.0}
"""Between two questions, by the last answer: each starts a program, and a set clock seldom loses its server."""
_FIRST_S = 3.0
"""So long the first answer is waited for, lest what is said at the start is said of a wrong clock."""


class TimeService:
    """Asks in a thread of its own, and answers with what was last said. From any thread."""

    def __init__(self, touched: Path = _TOUCHED) -> None:
        self._touched = touched
        self._lock = threading.Lock()
        self._asked_s: float | None = None
        self._is_set = False

    def is_set(self, now_s: float, *, wall_s: float) -> bool:
        """Return whether somebody sets the clock, which shows *wall_s*; what nobody says counts as no."""
        if self._is_touched(wall_s):
            return True
        with self._lock:
            is_first = self._asked_s is None
            if self._asked_s is not None and now_s < self._asked_s + _AGAIN_S[self._is_set]:
                return self._is_set
            self._asked_s = now_s
        asking = threading.Thread(target=self._ask, name="time-service", daemon=True)
        asking.start()
        if is_first:
            asking.join(_FIRST_S)
        return self._is_set

    def _is_touched(self, wall_s: float) -> bool:
        try:
            age_s = wall_s - self._touched.stat().st_mtime
        except OSError:
            return False
        return 0 <= age_s < _BELIEVED_S  # else somebody has set the clock by hand since

    def _ask(self) -> None:
        is_set = False
        with only_helps("timedated", instead="the wall time is not believed"):
            said = busctl.ask(_QUESTION)
            is_set = said is not None and json.loads(said)["data"] is True
        self._is_set = is_set
