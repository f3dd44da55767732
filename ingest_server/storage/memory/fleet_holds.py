"""What devices hold, in memory."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

from ingest_server.storage.interface import Held, HoldsStanding
from ingest_server.storage.interface.holds import MOST_HELD, MOST_HELD_IN_ALL, HoldsStore


class MemoryHolds(HoldsStore):
    """Of `MemoryFleet`."""

    _lock: threading.RLock
    _facts: Collection[str]
    _holds: dict[str, dict[str, Held]]
    _standing: dict[str, HoldsStanding]

    def holds_standing(self, device: str) -> HoldsStanding:
        return self._standing.get(device, HoldsStanding())

    def take_holds(
        self,
        device: str,
        *,
        epoch: str,
        through: int,
        begins_anew: bool,
        held: Sequence[Held],
        gone: Sequence[str],
        over: HoldsStanding | None = None,
    ) -> HoldsStanding:
        with self._lock:
            if device not in self._facts or over not in {None, self.holds_standing(device)}:
                return self.holds_standing(device)
            rows = self._holds.setdefault(device, {})
            if begins_anew:
                rows.clear()
            for file_id in gone:
                rows.pop(file_id, None)
            rows.update({one.file_id: one for one in held})
            others = sum(len(one) for name, one in self._holds.items() if name != device)
            most = max(0, min(MOST_HELD, MOST_HELD_IN_ALL - others))
            is_full = len(rows) > most
            for one in self.holds(device, limit=len(rows))[most:]:
                del rows[one.file_id]
            self._standing[device] = HoldsStanding(epoch, through, len(rows), is_full)
            return self._standing[device]

    def holds(
        self,
        device: str,
        *,
        like: str = "",
        since_s: int | None = None,
        until_s: int | None = None,
        after: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> list[Held]:
        with self._lock:
            rows = list(self._holds.get(device, {}).values())
        rows.sort(key=lambda one: (-one.mtime_s, one.file_id))
        wanted = like.lower()
        return [
            one
            for one in rows
            if (wanted in one.name.lower() or wanted in one.folder.lower())
            and (since_s is None or one.mtime_s >= since_s)
            and (until_s is None or one.mtime_s <= until_s)
            and (after is None or (-one.mtime_s, one.file_id) > (-after[0], after[1]))
        ][:limit]
