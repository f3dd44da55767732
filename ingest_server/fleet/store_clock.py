"""The clock that all servers over one store have: what was said later takes the place of what was said earlier."""

from __future__ import annotations

import math
from collections.abc import Callable

from ingest_server.fleet.members import Member
from ingest_server.storage.interface import FleetStore

QUICK_S = 0.1
"""An answer that takes longer tells the time less exactly, and is taken only..."""
OLD_S = 60.0
"""...where the last one that was quick is as old as this."""


class StoreClock:
    """The clock of a store, as far as it can be told from here without asking each time."""

    def __init__(self, store: FleetStore, now_s: Callable[[], float]) -> None:
        self._store = store
        self._now_s = now_s
        self._ahead_s = 0.0
        self._set_s = 0.0
        self._is_set = False

    def set(self) -> None:
        """Look what time it is there.

        Raises:
            Refused: the database failed.
        """
        before_s = self._now_s()
        there_s = self._store.now_s()
        after_s = self._now_s()
        is_good = after_s - before_s <= QUICK_S or after_s - self._set_s >= OLD_S
        if is_good or not self._is_set:
            self._ahead_s = there_s - (before_s + after_s) / 2
            self._set_s, self._is_set = after_s, True

    def now_s(self) -> float:
        """Return the time there; of a store that is nobody else's, and until the first `set`, 0."""
        return self._now_s() + self._ahead_s if self._is_set else 0.0

    def after_s(self, said_s: float) -> float:
        """Return the time there of what is said now by who knows what was said at *said_s*."""
        return max(self.now_s(), math.nextafter(said_s, math.inf)) if self._is_set else 0.0

    def here_s(self, there_s: float) -> float:
        """Return when *there_s* was, by the clock here."""
        return there_s - self._ahead_s

    def heard_s(self, member: Member) -> float | None:
        """Return when a device was heard of, by the clock there; None: never, or there is no such clock."""
        if member.heard_s is None or not self._is_set:
            return None
        return member.heard_s + self._ahead_s
