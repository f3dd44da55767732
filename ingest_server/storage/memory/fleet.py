"""What is remembered of devices, in memory: for tests, and where no folder is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

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
from ingest_server.storage.interface.fleet import (
    FINAL,
    KEPT_COMMANDS,
    KEPT_EVENTS,
    KEPT_EVENTS_IN_ALL,
    OPEN,
)
from ingest_server.storage.interface.holds import MOST_HELD, MOST_HELD_IN_ALL


class MemoryFleet(FleetStore):
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

    # devices and what they say

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

    # what they are asked

    def put_command(
        self,
        command: CommandRecord,
        *,
        is_durable: bool = False,  # noqa: ARG002
        over_open: bool = False,
    ) -> bool:
        with self._lock:
            known = self._commands.get(command.id)
            if known is not None and (
                known.device != command.device
                or known.status in FINAL
                or (over_open and known.status not in OPEN)
            ):
                return False
            self._commands[command.id] = CommandRecord(**json.loads(json.dumps(asdict(command))))
            for one in self.commands(command.device, len(self._commands))[KEPT_COMMANDS:]:
                if one.status not in OPEN:
                    del self._commands[one.id]
            return True

    def command(self, device: str, command_id: str) -> CommandRecord | None:
        found = self._commands.get(command_id)
        return found if found is not None and found.device == device else None

    def commands(self, device: str, limit: int = 100) -> list[CommandRecord]:
        with self._lock:
            mine = [one for one in self._commands.values() if one.device == device]
            return mine[::-1][:limit]

    def unanswered(self, device: str | None = None) -> list[CommandRecord]:
        with self._lock:
            return [
                one
                for one in self._commands.values()
                if one.status in OPEN and device in (None, one.device)
            ]

    def put_desired(self, device: str, document: bytes, *, over: bytes | None = None) -> bool:
        with self._lock:
            if self.document(device, "desired") != over:
                return False
            self.save({}, {(device, "desired"): document})
            return True

    # what happened

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

    # what they did, minute by minute

    def samples(self, device: str, step_s: int, since_s: int) -> list[Samples]:
        return [one for one in self.newest_samples(step_s, since_s) if one.device == device]

    def newest_samples(self, step_s: int, since_s: int) -> list[Samples]:
        with self._lock:
            return [
                Samples(device, step, start_s, packed)
                for (step, start_s, device), packed in sorted(self._samples.items())
                if step == step_s and start_s >= since_s
            ]

    def thin_out(self, step_s: int, runs: int) -> int:
        with self._lock:
            starts = sorted({start for step, start, _ in self._samples if step == step_s})
            old = set(starts[: max(0, len(starts) - runs)])
            going = [key for key in self._samples if key[0] == step_s and key[1] in old]
            for key in going:
                del self._samples[key]
            return len(going)

    # what people were told

    def notices(self) -> dict[str, bytes]:
        return dict(sorted(self._notices.items()))

    def put_notice(self, key: str, body: bytes | None) -> None:
        if body is None:
            self._notices.pop(key, None)
        else:
            self._notices[key] = body

    # what they hold

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
