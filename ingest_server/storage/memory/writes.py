"""What is written to the facts in memory, inside a transaction."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ingest_server.core import events
from ingest_server.core.errors import StateFailed
from ingest_server.core.events import Event
from ingest_server.core.record import State, UploadRecord
from ingest_server.storage.claims import Claims
from ingest_server.storage.interface import (
    Claim,
    Lease,
    Reading,
    Removal,
    Transaction,
)
from ingest_server.storage.interface.keeping import (
    KEPT_ENDED,
    KEPT_EVENTS,
    KEPT_REPEATS,
    STEP,
    WAITING_EVENTS,
)
from ingest_server.storage.memory.queries import MemoryQueries
from ingest_server.storage.memory.tables import Tables

TRIMMED_EACH = 64

LEFT_NO_FILE = (State.FAILED, State.EXPIRED, State.ABORTED)


class MemoryTransaction(MemoryQueries, Transaction):
    """Reads and writes of one job, on a copy."""

    def __init__(self, tables: Tables, claims: Claims) -> None:
        self.tables = tables
        self._claims = claims

    def is_standing(self, claim: Claim) -> bool:
        return self._claims.is_standing(claim)

    def is_leased(self, lease: Lease) -> bool:
        return self._claims.is_leased(lease)

    def insert(self, record: UploadRecord) -> None:
        """Add an upload, with the event that tells of it.

        Raises:
            StateFailed: its id, or its device and key, are there already.
        """
        if self.find(record.id) or self.by_key(record.device, record.key):
            raise StateFailed("storage-failed", "there is such an upload already")
        self.tables.uploads[record.id] = record
        self.tell(events.CREATED, record)

    def save(self, record: UploadRecord) -> None:
        kept = self.tables.uploads.get(record.id)
        if kept is not None:
            self.tables.uploads[record.id] = replace(
                kept,
                name=record.name,
                folder=record.folder,
                length=record.length,
                digest=record.digest,
                modified_at=record.modified_at,
                metadata=record.metadata,
                state=record.state,
                received=record.received,
                touched_s=record.touched_s,
                target=record.target,
                receipt=record.receipt,
                rewrites=record.rewrites,
            )
        if record.state in events.OF_STATE:
            self._claims.end(record.id)
            self.tell(events.OF_STATE[record.state], record)
            self._forget_surplus(record)

    def _forget_surplus(self, record: UploadRecord) -> None:
        receipt = record.receipt
        if record.state in LEFT_NO_FILE:
            kept = KEPT_ENDED
            alike = [one for one in self._ended() if one.device == record.device]
        elif receipt is not None and receipt.upload_id != record.id:
            kept = KEPT_REPEATS
            alike = [
                one
                for one in self.in_states(State.COMPLETE)
                if one.target == record.target
                and one.receipt is not None
                and one.receipt.upload_id == receipt.upload_id != one.id
            ]
        else:
            return
        alike.sort(key=lambda one: one.touched_s, reverse=True)
        self._forget({one.id for one in alike[kept:]})

    def _ended(self) -> list[UploadRecord]:
        return self.in_states(*LEFT_NO_FILE)

    def _forget(self, gone: set[str]) -> None:
        tables = self.tables
        tables.uploads = {key: one for key, one in tables.uploads.items() if key not in gone}
        tables.readings = {key: one for key, one in tables.readings.items() if key not in gone}
        tables.notes = {key: one for key, one in tables.notes.items() if key[0] not in gone}

    def mark_removed(self, record: UploadRecord, removal: Removal, removed_at: str) -> None:
        for one in self.in_states(State.COMPLETE):
            receipt = one.receipt
            if one.target == removal.path and receipt and receipt.upload_id == record.id:
                self.tables.uploads[one.id] = replace(one, removed_at=removed_at)
        self.tables.removals[removal.path] = removal
        self.tell(events.REMOVED, record, removed_at=removed_at)

    def end_removal(self, path: str) -> None:
        self.tables.removals.pop(path, None)

    def save_reading(self, reading: Reading) -> None:
        self.tables.readings[reading.upload_id] = reading

    def write_event(self, kind: str, *, subject: str, device: str, data: dict[str, Any]) -> str:
        self.tables.last_seq += 1
        event = Event(
            self.tables.last_seq,
            f"evt_{secrets.token_hex(16)}",
            kind,
            datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            subject,
            device,
            json.loads(json.dumps(data)),  # as every other store gives it back
        )
        self.tables.events[event.seq] = (event, self.tables.uptime_s)
        self._trim_events(device)
        return event.id

    def forget_events(self, before_s: float, limit: int = STEP) -> int:
        tables = self.tables
        kept = {one.event.seq for one in tables.deliveries.values() if one.state == "pending"}
        kept |= {max((one.seq for one in self._events(events.STORAGE)), default=0)}
        gone = [
            seq
            for seq, (_, uptime_s) in tables.events.items()
            if uptime_s < before_s and seq <= self._taken_in() and seq not in kept
        ][:limit]
        self._forget_events(set(gone))
        return len(gone)

    def _trim_events(self, device: str) -> None:
        tables = self.tables
        if tables.last_seq % TRIMMED_EACH:
            return
        mine = sorted(seq for seq, (one, _) in tables.events.items() if one.device == device)
        taken_in = self._taken_in()
        waiting = {one.event.seq for one in tables.deliveries.values() if one.state != "done"}
        gone = set(mine[:-WAITING_EVENTS])
        gone |= {one for one in mine[:-KEPT_EVENTS] if one <= taken_in and one not in waiting}
        pending = {one.event.seq for one in tables.deliveries.values() if one.state == "pending"}
        tables.events_dropped += sum(1 for one in gone if one > taken_in or one in pending)
        if gone:
            self._forget_events(gone)

    def _taken_in(self) -> int:
        """Return up to which event each target has taken them in."""
        tables = self.tables
        return min((one.taken_in for one in tables.targets.values()), default=tables.last_seq)

    def _forget_events(self, gone: set[int]) -> None:
        tables = self.tables
        tables.events = {seq: one for seq, one in tables.events.items() if seq not in gone}
        tables.deliveries = {
            key: one for key, one in tables.deliveries.items() if one.event.seq not in gone
        }

    def note_contact(self, device: str, contact_at: str, program: str) -> None:
        self.tables.contacts[device] = (contact_at, program)

    def write_note(self, upload_id: str, key: str, value: str) -> None:
        self.tables.notes[upload_id, key] = value

    def set_uptime(self, seconds: float) -> None:
        self.tables.uptime_s = seconds

    def forget_ended(self, before_s: float, limit: int = STEP) -> int:
        gone = [one.id for one in self._ended() if one.touched_s < before_s][:limit]
        self._forget(set(gone))
        return len(gone)

    def forget_removed(self, before_s: float, removed_by: str, limit: int = STEP) -> int:
        gone = [
            one.id
            for one in self.in_states(State.COMPLETE)
            if one.removed_at is not None
            and one.removed_at <= removed_by
            and one.touched_s < before_s
            and one.target not in self.tables.removals
        ][:limit]
        self._forget(set(gone))
        return len(gone)

    def forget_texts(
        self, before_s: float, *, after: str, limit: int = STEP
    ) -> tuple[int, str | None]:
        tables, count = self.tables, 0
        found = sorted(one for one in tables.uploads if one > after)[:limit]
        for one in (tables.uploads[upload_id] for upload_id in found):
            if one.state is not State.COMPLETE or one.touched_s >= before_s:
                continue
            noted = [key for key in self.notes(one.id) if ":" in key]
            has_metadata = bool(one.metadata) and "protocol" not in one.metadata
            if has_metadata:
                tables.uploads[one.id] = replace(one, metadata={})
            for key in noted:
                del tables.notes[one.id, key]
            count += bool(noted) or has_metadata
        return count, found[-1] if len(found) == limit else None

    def forget_contacts(self, before: str) -> int:
        tables = self.tables
        known = {one.device for one in tables.tokens.values()}
        known |= {one.device for one in self._all()}
        gone = [
            device
            for device, (at, _) in tables.contacts.items()
            if at < before and device not in known
        ]
        for device in gone:
            del tables.contacts[device]
        return len(gone)
