"""What is written to the database, inside a transaction."""

from __future__ import annotations

import json
import secrets
from abc import abstractmethod
from typing import Any

import structlog

from ingest_server.core import events
from ingest_server.core.record import UploadRecord
from ingest_server.storage.interface import Reading, Removal, Transaction
from ingest_server.storage.interface.keeping import STEP, WAITING_EVENTS
from ingest_server.storage.sql import forgetting
from ingest_server.storage.sql.queries import COLUMNS, SqlQueries

TRIMMED_EACH = 64
"""Events after which those of the device that wrote the last one are counted. Who writes most of them
is counted most; each by itself would cost a walk over what is kept."""

log = structlog.get_logger()


class SqlTransaction(SqlQueries, Transaction):
    """Reads and writes of one job."""

    def __init__(self) -> None:
        self._events = 0
        self.events_dropped = 0
        """Events that somebody was to be told of and were too many, since this was opened."""

    @abstractmethod
    def write(self, sql: str, *values: object) -> int:
        """Run one statement; returns how many rows it changed."""

    @abstractmethod
    def end_claims(self, upload_id: str) -> None:
        """Let go of every claim of an upload."""

    def in_line(self) -> None:
        """Let the events that follow, up to the commit, be numbered as they become visible."""

    def insert(self, record: UploadRecord) -> None:
        values = _values(record)
        marks = ", ".join("?" * len(values))
        self.write(
            f"INSERT INTO uploads ({COLUMNS}, verified_at) VALUES ({marks}, ?)",
            *values,
            _published_at(record),
        )
        self.tell(events.CREATED, record)

    def save(self, record: UploadRecord) -> None:
        self.write(
            "UPDATE uploads SET name = ?, folder = ?, length = ?, digest = ?, modified_at = ?, "
            "metadata = ?, state = ?, received = ?, touched_s = ?, target = ?, receipt = ?, "
            "rewrites = ?, verified_at = ? WHERE id = ?",
            record.name,
            record.folder,
            record.length,
            None if record.digest is None else record.digest.value,
            record.modified_at,
            json.dumps(dict(record.metadata)),
            record.state.value,
            json.dumps(record.received.to_pairs(), separators=(",", ":")),
            record.touched_s,
            record.target,
            None if record.receipt is None else json.dumps(record.receipt.to_json()),
            record.rewrites,
            _published_at(record),
            record.id,
        )
        if record.state in events.OF_STATE:
            self.end_claims(record.id)
            self.tell(events.OF_STATE[record.state], record)
            forgetting.forget_surplus(self, record)

    def mark_removed(self, record: UploadRecord, removal: Removal, removed_at: str) -> None:
        self.write(
            f"UPDATE uploads SET removed_at = ?, verified_at = NULL WHERE target = ? AND state = 'complete' "
            f"AND {self.dialect.origin} = ?",
            removed_at,
            removal.path,
            record.id,
        )
        self.write(
            "INSERT INTO removals (path, upload_id, identity) VALUES (?, ?, ?) ON CONFLICT (path) "
            "DO UPDATE SET upload_id = excluded.upload_id, identity = excluded.identity",
            removal.path,
            removal.upload_id,
            removal.identity,
        )
        self.tell(events.REMOVED, record, removed_at=removed_at)

    def end_removal(self, path: str) -> None:
        self.write("DELETE FROM removals WHERE path = ?", path)

    def save_reading(self, reading: Reading) -> None:
        self.write(
            "INSERT INTO readings (upload_id, identity, digest, run, read_s, read_at) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (upload_id) DO UPDATE SET "
            "identity = excluded.identity, digest = excluded.digest, run = excluded.run, "
            "read_s = excluded.read_s, read_at = excluded.read_at",
            reading.upload_id,
            reading.identity,
            reading.digest.value,
            reading.run,
            reading.read_s,
            reading.read_at,
        )

    def write_event(self, kind: str, *, subject: str, device: str, data: dict[str, Any]) -> str:
        self.in_line()
        event_id = f"evt_{secrets.token_hex(16)}"
        # The database's clock: what runs in a transaction is given none, and the time is for people only.
        self.write(
            "INSERT INTO events (id, type, time, subject, device, data, uptime_s) VALUES "
            f"(?, ?, {self.dialect.now}, ?, ?, ?, (SELECT seconds FROM uptime))",
            event_id,
            kind,
            subject,
            device,
            json.dumps(data),
        )
        self._events += 1
        if self._events % TRIMMED_EACH == 0:
            self._trim_events(device)
        return event_id

    def _trim_events(self, device: str) -> None:
        dropped = forgetting.trim_events(self, device)
        if dropped:
            self.events_dropped += dropped
            log.error(
                "events.dropped",
                device_id=device,
                count=dropped,
                error=f"more than {WAITING_EVENTS} events of this device wait to be told: the oldest "
                "are gone, and a target will never hear of them. Mend the target, or take it out of "
                "the configuration: `ingest-server webhook list` shows its last error",
            )

    def forget_events(self, before_s: float, limit: int = STEP) -> int:
        return forgetting.forget_events(self, before_s, limit)

    def note_contact(self, device: str, contact_at: str, program: str) -> None:
        self.write(
            "INSERT INTO contacts (device, contact_at, program) VALUES (?, ?, ?) ON CONFLICT (device) "
            "DO UPDATE SET contact_at = excluded.contact_at, program = excluded.program",
            device,
            contact_at,
            program,
        )

    def write_note(self, upload_id: str, key: str, value: str) -> None:
        self.write(
            "INSERT INTO notes (upload_id, key, value) VALUES (?, ?, ?) "
            "ON CONFLICT (upload_id, key) DO UPDATE SET value = excluded.value",
            upload_id,
            key,
            value,
        )

    def set_uptime(self, seconds: float) -> None:
        self.write("UPDATE uptime SET seconds = ?", seconds)

    def forget_ended(self, before_s: float, limit: int = STEP) -> int:
        return forgetting.forget_ended(self, before_s, limit)

    def forget_removed(self, before_s: float, removed_by: str, limit: int = STEP) -> int:
        return forgetting.forget_removed(self, before_s, removed_by, limit)

    def forget_texts(
        self, before_s: float, *, after: str, limit: int = STEP
    ) -> tuple[int, str | None]:
        return forgetting.forget_texts(self, before_s, after, limit)

    def forget_contacts(self, before: str) -> int:
        return self.write(
            "DELETE FROM contacts WHERE contact_at < ? "
            "AND device NOT IN (SELECT device FROM tokens) "
            "AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.device = contacts.device)",
            before,
        )


def _published_at(record: UploadRecord) -> str | None:
    """Return when the file was verified that this upload published; None: it has none (any more)."""
    receipt = record.receipt
    has_file = receipt is not None and receipt.upload_id == record.id and record.removed_at is None
    return receipt.verified_at if receipt is not None and has_file else None


def _values(record: UploadRecord) -> tuple[object, ...]:
    return (
        record.id,
        record.device,
        record.key,
        record.name,
        record.folder,
        record.created_at,
        record.length,
        None if record.digest is None else record.digest.value,
        record.modified_at,
        record.media_type,
        json.dumps(dict(record.metadata)),
        record.state.value,
        json.dumps(record.received.to_pairs(), separators=(",", ":")),
        record.touched_s,
        record.target,
        None if record.receipt is None else json.dumps(record.receipt.to_json()),
        record.removed_at,
        record.rewrites,
        record.route,
    )
