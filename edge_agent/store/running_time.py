"""How long the device has run under the agent: ages that no wall clock is needed for (law L6).

All lives of the agent, and what lies between two lives in one boot: there the monotonic clock went on. How
long the device was off nobody can say.
"""

from __future__ import annotations

import math
from typing import Any

from edge_agent.base.clock import Clock
from edge_agent.store.database_file import Connection
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
        self._boot_began_s = -1
        self._written_s = 0

    @property
    def boot_began_s(self) -> int:
        """The running time at which this boot began: only what was seen in it has a greater `seen_s`.

        Raises:
            StoreError: it cannot be read.
        """
        self.now_s()
        return self._boot_began_s

    def seen_s(self) -> int:
        """Return when something was seen that is seen now; in a boot's first second one too much.

        Raises:
            StoreError: it cannot be read.
        """
        return max(self.now_s(), self._boot_began_s + 1)

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
        if noted is None:
            return 0
        if not isinstance(noted, dict):  # by an earlier version
            noted = {"s": noted, "boot_id": None}
        written_s = int(noted["s"])
        if noted["boot_id"] == self.boot_id:
            self._boot_began_s = int(noted.get("boot_began_s", written_s))
            return written_s + max(0, int(self._began_s - noted["monotonic_s"]))
        self._boot_began_s = written_s
        return written_s

    def _note(self) -> dict[str, Any]:
        self._written_s = self.now_s()
        monotonic_s = math.ceil(self._clock.now_s())
        return {
            "s": self._written_s,
            "boot_id": self.boot_id,
            "boot_began_s": self._boot_began_s,
            "monotonic_s": monotonic_s,
        }

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
