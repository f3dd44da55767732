"""What happened on devices, and what people were told of them, in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from ingest_server.storage.interface import DeviceEvent
from ingest_server.storage.interface.fleet import KEPT_EVENTS, KEPT_EVENTS_IN_ALL, EventStore


class MemoryEvents(EventStore):
    """Of `MemoryFleet`."""

    _lock: threading.RLock
    _events: dict[tuple[str, str], DeviceEvent]
    _numbered: int
    _notices: dict[str, bytes]

    def add_events(self, events: Sequence[DeviceEvent]) -> list[DeviceEvent]:
        new = []
        with self._lock:
            for one in events:
                if (one.device, one.id) in self._events:
                    continue
                self._numbered += 1
                new.append(replace(one, number=self._numbered))
                self._events[one.device, one.id] = new[-1]
            for device in {one.device for one in new}:
                mine = [key for key in self._events if key[0] == device]
                for key in mine[: max(0, len(mine) - KEPT_EVENTS)]:
                    del self._events[key]
            for key in list(self._events)[: max(0, len(self._events) - KEPT_EVENTS_IN_ALL)]:
                del self._events[key]
        return new

    def events(self, device: str | None, *, after: int | None, limit: int) -> list[DeviceEvent]:
        with self._lock:
            found = [
                one
                for one in self._events.values()
                if device in (None, one.device) and one.number > (after or 0)
            ]
        return found[-limit:] if after is None else found[:limit]

    def notices(self) -> dict[str, bytes]:
        return dict(sorted(self._notices.items()))

    def put_notice(self, key: str, body: bytes | None) -> None:
        if body is None:
            self._notices.pop(key, None)
        else:
            self._notices[key] = body
