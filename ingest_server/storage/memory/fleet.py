"""What is remembered of devices, in memory: for tests, and where no folder is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from ingest_server.storage.interface import (
    CommandRecord,
    DeviceEvent,
    FleetStore,
    Held,
    HoldsStanding,
    KnownDevice,
    Samples,
)
from ingest_server.storage.interface.fleet import KEPT_COMMANDS, KEPT_EVENTS, KEPT_EVENTS_IN_ALL
from ingest_server.storage.interface.holds import MOST_HELD, MOST_HELD_IN_ALL

_OPEN = ("waiting", "sent")


class MemoryFleet(FleetStore):
    """Behaves as the engine on disk does, and keeps nothing."""

    generation = 0

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._facts: dict[str, bytes] = {}
        self._documents: dict[tuple[str, str], bytes] = {}
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
            return [
                KnownDevice(
                    one, facts, *(self.document(one, kind) for kind in ("state", "info", "desired"))
                )
                for one, facts in sorted(self._facts.items())
            ]

    def save(
        self,
        facts: Mapping[str, bytes],
        documents: Mapping[tuple[str, str], bytes],
        samples: Iterable[Samples] = (),
    ) -> None:
        with self._lock:
            for device, _ in documents:
                self._facts.setdefault(device, b"{}")
            self._facts.update(facts)
            self._documents.update(documents)
            for one in samples:
                self._facts.setdefault(one.device, b"{}")
                self._samples[one.step_s, one.start_s, one.device] = one.packed

    def document(self, device: str, kind: str) -> bytes | None:
        return self._documents.get((device, kind))

    def forget(self, device: str) -> None:
        with self._lock:
            self._facts.pop(device, None)
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

    def put_command(self, command: CommandRecord, *, is_durable: bool = False) -> None:  # noqa: ARG002
        with self._lock:
            known = self._commands.get(command.id)
            if known is not None and known.device != command.device:
                return
            self._commands[command.id] = CommandRecord(**json.loads(json.dumps(asdict(command))))
            for one in self.commands(command.device, len(self._commands))[KEPT_COMMANDS:]:
                if one.status not in _OPEN:
                    del self._commands[one.id]

    def command(self, device: str, command_id: str) -> CommandRecord | None:
        found = self._commands.get(command_id)
        return found if found is not None and found.device == device else None

    def commands(self, device: str, limit: int = 100) -> list[CommandRecord]:
        with self._lock:
            mine = [one for one in self._commands.values() if one.device == device]
            return mine[::-1][:limit]

    def unanswered(self) -> list[CommandRecord]:
        with self._lock:
            return [one for one in self._commands.values() if one.status in _OPEN]

    def put_desired(self, device: str, document: bytes) -> None:
        self.save({}, {(device, "desired"): document})

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
    ) -> HoldsStanding:
        with self._lock:
            if device not in self._facts:
                return HoldsStanding()
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
