"""How long the agent has run in all its lives: ages that no wall clock is needed for (law L6)."""

from __future__ import annotations

from edge_agent.base.clock import Clock
from edge_agent.store.database import Connection
from edge_agent.store.notes import Notes

_KEY = "running_s"
_WRITTEN_EVERY_S = 600.0
"""What a power cut takes of it: a drone that is cut off after each flight of half an hour counts most of
that, and a card bears six commits an hour."""


class RunningTime:
    """Counts from what the last life wrote down, which is less than the truth and never more."""

    def __init__(self, notes: Notes, clock: Clock) -> None:
        self._notes = notes
        self._clock = clock
        self._began_s = clock.now_s()
        self._before_s: int | None = None
        self._written_s = 0

    def now_s(self) -> int:
        """Return it in whole seconds.

        Raises:
            StoreError: it cannot be read.
        """
        if self._before_s is None:
            self._before_s = self._written_s = int(self._notes.get(_KEY) or 0)
        return self._before_s + int(self._clock.now_s() - self._began_s)

    def write(self, run: Connection) -> None:
        """Write it down in the caller's transaction."""
        self._written_s = self.now_s()
        self._notes.write(run, _KEY, self._written_s)

    def keep(self) -> None:
        """Write it down if that is due.

        Raises:
            StoreError: it cannot be written.
        """
        now_s = self.now_s()
        if now_s - self._written_s >= _WRITTEN_EVERY_S:
            self._notes.put(_KEY, now_s)
            self._written_s = now_s
