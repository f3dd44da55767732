"""How long the device has run under the agent: ages that no wall clock is needed for (law L6).

All lives of the agent, and what lies between two lives in one boot: there the monotonic clock went on. How
long the device was off nobody can say.
"""

from __future__ import annotations

import math
from typing import Any

from edge_agent.base.clock import Clock
from edge_agent.store.database import Connection
from edge_agent.store.notes import Notes

_KEY = "running_s"
_WRITTEN_EVERY_S = 600.0
"""What a power cut takes of it: a drone that is cut off after each flight of half an hour counts most of
that, and a card bears six commits an hour."""


class RunningTime:
    """Counts from what the last life wrote down, which is less than the truth and never more."""

    def __init__(self, notes: Notes, clock: Clock, boot_id: str) -> None:
        self._notes = notes
        self._clock = clock
        self.boot_id = boot_id
        self._began_s = clock.now_s()
        self._before_s: int | None = None
        self._written_s = 0

    def now_s(self) -> int:
        """Return it in whole seconds.

        Raises:
            StoreError: it cannot be read.
        """
        if self._before_s is None:
            self._before_s = self._written_s = self._earlier_s()
        return self._before_s + int(self._clock.now_s() - self._began_s)

    def _earlier_s(self) -> int:
        noted = self._notes.get(_KEY)
        if not isinstance(noted, dict):  # by an earlier version
            return int(noted or 0)
        between_s = 0
        if noted["boot_id"] == self.boot_id:
            between_s = max(0, int(self._began_s - noted["monotonic_s"]))
        return int(noted["s"]) + between_s

    def _note(self) -> dict[str, Any]:
        self._written_s = self.now_s()
        monotonic_s = math.ceil(self._clock.now_s())
        return {"s": self._written_s, "boot_id": self.boot_id, "monotonic_s": monotonic_s}

    def write(self, run: Connection) -> None:
        """Write it down in the caller's transaction."""
        self._notes.write(run, _KEY, self._note())

    def keep(self, *, every_s: float = _WRITTEN_EVERY_S) -> None:
        """Write it down if that is due.

        Raises:
            StoreError: it cannot be written.
        """
        if self.now_s() - self._written_s >= every_s:
            self._notes.put(_KEY, self._note())
