"""What is remembered of devices, in memory: for tests, and where no folder is."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from ingest_server.storage.interface import (
    CommandRecord,
    DeviceChanges,
    DeviceEvent,
    FleetStore,
    Held,
    HoldsStanding,
    KnownDevice,
    Samples,
)
from ingest_server.storage.memory.fleet_commands import MemoryCommands
from ingest_server.storage.memory.fleet_events import MemoryEvents
from ingest_server.storage.memory.fleet_holds import MemoryHolds
from ingest_server.storage.memory.fleet_samples import MemorySamples


class MemoryFleet(MemoryHolds, MemoryCommands, MemoryEvents, MemorySamples, FleetStore):
    """Behaves as the engine on disk does, and keeps nothing."""

    generation = 0

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._facts: dict[str, bytes] = {}
        self._documents: dict[tuple[str, str], bytes] = {}
        self._said_s: dict[str | tuple[str, str], float] = {}
        self._changed: dict[str, int] = {}
        self._gone: dict[str, int] = {}
        self._last_change = 0
        self._commands: dict[str, CommandRecord] = {}
        self._events: dict[tuple[str, str], DeviceEvent] = {}
        self._numbered = 0
        self._samples: dict[tuple[int, int, str], bytes] = {}
        self._notices: dict[str, bytes] = {}
        self._holds: dict[str, dict[str, Held]] = {}
        self._standing: dict[str, HoldsStanding] = {}

    def close(self) -> None:
        pass

    def devices(self) -> list[KnownDevice]:
        with self._lock:
            return [self._known(one) for one in sorted(self._facts)]

    def known(self, device: str) -> KnownDevice | None:
        with self._lock:
            return self._known(device) if device in self._facts else None

    def _known(self, device: str) -> KnownDevice:
        return KnownDevice(
            device,
            self._facts[device],
            state=self.document(device, "state"),
            info=self.document(device, "info"),
            desired=self.document(device, "desired"),
            said_s=self._said_s.get(device, 0.0),
            state_s=self._said_s.get((device, "state"), 0.0),
            info_s=self._said_s.get((device, "info"), 0.0),
        )

    def changes(self, after: int) -> DeviceChanges:
        with self._lock:
            found = [one for one, number in self._changed.items() if number > after]
            gone = [one for one, number in self._gone.items() if number > after]
            return DeviceChanges([self._known(one) for one in found], gone, self._last_change)

    def _note_change(self, devices: Iterable[str]) -> None:
        self._last_change += 1
        for one in devices:
            self._gone.pop(one, None)
            self._facts.setdefault(one, b"{}")
            self._changed[one] = self._last_change

    def save(
        self,
        facts: Mapping[str, bytes],
        documents: Mapping[tuple[str, str], bytes],
        samples: Iterable[Samples] = (),
        *,
        said_s: Mapping[str | tuple[str, str], float] | None = None,
    ) -> None:
        samples, stamps = list(samples), said_s or {}
        with self._lock:
            new = [one.device for one in samples if one.device not in self._facts]
            self._note_change([*facts, *(device for device, _ in documents), *new])
            for device, body in facts.items():
                if self._is_newest(device, stamps):
                    self._facts[device] = body
            for key, body in documents.items():
                if self._is_newest(key, stamps):
                    self._documents[key] = body
            for one in samples:
                self._samples[one.step_s, one.start_s, one.device] = one.packed

    def _is_newest(
        self, key: str | tuple[str, str], said_s: Mapping[str | tuple[str, str], float]
    ) -> bool:
        at_s = said_s.get(key, 0.0)
        if at_s < self._said_s.get(key, 0.0):
            return False
        self._said_s[key] = at_s
        return True

    def document(self, device: str, kind: str) -> bytes | None:
        return self._documents.get((device, kind))

    def forget(self, device: str) -> None:
        with self._lock:
            self._facts.pop(device, None)
            self._changed.pop(device, None)
            self._last_change += 1
            self._gone[device] = self._last_change
            for stamp in [one for one in self._said_s if device in (one, one[0])]:
                del self._said_s[stamp]
            self._holds.pop(device, None)
            self._standing.pop(device, None)
            for kept in (self._documents, self._events):
                for key in [key for key in kept if key[0] == device]:
                    del kept[key]
            for place in [place for place in self._samples if place[2] == device]:
                del self._samples[place]
            for one in self.commands(device, len(self._commands)):
                del self._commands[one.id]

    def put_desired(self, device: str, document: bytes, *, over: bytes | None = None) -> bool:
        with self._lock:
            if self.document(device, "desired") != over:
                return False
            self.save({}, {(device, "desired"): document})
            return True
