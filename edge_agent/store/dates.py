"""When recordings were seen, put right once the clock is: what a board without a battery saw before that has no date.

In one boot the running time tells how long ago that was. Of an earlier boot nobody can say.
"""

from __future__ import annotations

from edge_agent.base.clock import Clock
from edge_agent.store.database import Database
from edge_agent.store.running_time import RunningTime
from edge_host.clock import rfc3339


class Dates:
    """For one thread."""

    def __init__(self, database: Database, running: RunningTime, clock: Clock) -> None:
        self._database = database
        self._running = running
        self._clock = clock
        self._is_right = False
        """Whether all of this boot have their date."""

    def mend(self) -> None:
        """Date what was seen in this boot before the clock was set, if it is set now.

        Raises:
            StoreError: not one of them; the next call does it again.
        """
        if not self._clock.is_synchronised():
            self._is_right = False
            return
        if self._is_right:
            return
        now, now_s = rfc3339(self._clock.now_utc()), self._running.now_s()
        undated = "is_seen_at_true = 0 AND seen_s > ?"
        since_s = self._running.boot_began_s
        with self._database.reading() as run:
            found = run.execute(f"SELECT 1 FROM recording WHERE {undated} LIMIT 1", (since_s,))
            is_any = found.fetchone() is not None
        if is_any:
            with self._database.transaction() as run:
                run.execute(
                    "UPDATE recording SET is_seen_at_true = 1, seen_at ="
                    " strftime('%Y-%m-%dT%H:%M:%SZ', ?, (seen_s - ?) || ' seconds')"
                    f" WHERE {undated}",
                    (now, now_s, since_s),
                )
        self._is_right = True
