"""What is asked of the database and written to it; one connection, inside one transaction."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from ingest_server.core import events
from ingest_server.core.record import State, UploadRecord, not_found, refuse_unless_open
from ingest_server.storage.sqlite import readings
from ingest_server.storage.sqlite.readings import Reading
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt
from upload_protocol.ranges import RangeSet

_COLUMNS = (
    "id, device, key, name, folder, created_at, length, digest, modified_at, media_type, "
    "metadata, state, received, touched_s, target, receipt, removed_at"
)
_SELECT = f"SELECT {_COLUMNS} FROM uploads "
_VERIFIED_AT = "json_extract(receipt, '$.verified_at')"
_ORIGIN = "json_extract(receipt, '$.upload_id')"
"""Which upload published the file."""


@dataclass(frozen=True, slots=True)
class Census:
    """Uploads that have not ended, counted."""

    by_state: Mapping[str, int]
    oldest_at: str | None
    """When the oldest of them was created."""
    due_bytes: int
    """What is still to come of those whose length is known."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A published file that is marked as removed and whose name may not be gone yet."""

    path: str
    upload_id: str
    identity: str
    """What tells it from a file that came in its place: `FileBlobs.identity`."""


class Queries:
    """Reads. Every answer is of committed rows, or of this transaction's own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, upload_id: str) -> UploadRecord | None:
        return self._one("WHERE id = ?", upload_id)

    def known(self, upload_id: str) -> UploadRecord:
        """Return the upload.

        Raises:
            Refused: ``upload-not-found``.
        """
        record = self.get(upload_id)
        if record is None:
            raise not_found()
        return record

    def device_of(self, upload_id: str) -> str | None:
        """Return whose an upload is, without the rest of its record; None: there is none."""
        row = self._connection.execute(
            "SELECT device FROM uploads WHERE id = ?", (upload_id,)
        ).fetchone()
        return None if row is None else str(row[0])

    def state_of(self, upload_id: str) -> State | None:
        """Return where an upload stands, without the rest of its record; None: there is none."""
        row = self._connection.execute(
            "SELECT state FROM uploads WHERE id = ?", (upload_id,)
        ).fetchone()
        return None if row is None else State(row[0])

    def by_key(self, device: str, key: str) -> UploadRecord | None:
        return self._one("WHERE device = ? AND key = ?", device, key)

    def published(self, record: UploadRecord, length: int, digest: Digest) -> list[UploadRecord]:
        """Return the complete uploads of the file of *record* that was not removed.

        Those of its folder first, oldest first; then those of the same name in other folders.
        """
        return self._all(
            "WHERE state = 'complete' AND removed_at IS NULL AND digest = ? AND device = ? "
            "AND name = ? AND length = ? ORDER BY folder != ?, created_at, id LIMIT 16",
            digest.value,
            record.device,
            record.name,
            length,
            record.folder,
        )

    def reading(self, upload_id: str) -> Reading | None:
        """Return what the file that this upload published had when it was last read whole."""
        return readings.find(self._connection, upload_id)

    def is_published_over(self, receipt: Receipt) -> bool:
        """Whether a later upload was, or is about to be, published at the receipt's path."""
        record = self.get(receipt.upload_id)
        return record is not None and self.is_used_since(receipt.published_as, record)

    def receipts(self) -> list[Receipt]:
        """Return the receipts of all published files; of repeated uploads the first one's.

        Without those that `[retention]` removed.
        """
        rows = self._connection.execute(
            "SELECT receipt FROM uploads WHERE state = 'complete' AND removed_at IS NULL"
        )
        found = (Receipt.from_json(json.loads(row[0])) for row in rows)
        return list({(one.upload_id, one.published_as): one for one in found}.values())

    def has_target(self, target: str, *, besides: str = "") -> bool:
        """Whether an upload, not *besides*, was or is being published at *target*."""
        row = self._connection.execute(
            "SELECT 1 FROM uploads WHERE target = ? AND id != ? LIMIT 1", (target, besides)
        )
        return row.fetchone() is not None

    def newest_verified_at(self, *, since_s: float) -> str | None:
        """Return the newest time at which a file was verified since uptime *since_s*."""
        row = self._connection.execute(
            f"SELECT max({_VERIFIED_AT}) FROM uploads WHERE state = 'complete' "
            "AND removed_at IS NULL AND touched_s >= ?",
            (since_s,),
        ).fetchone()
        return None if row[0] is None else str(row[0])

    def due_for_removal(
        self, verified_by: str, ended_by_s: float, *, after: tuple[str, str], limit: int
    ) -> list[tuple[UploadRecord, Receipt]]:
        """Return the uploads whose file is old by either clock, oldest first.

        Those that published it, not those that were given the receipt of an earlier one.

        Args:
            after: time of verification and id of the last one that was seen.
        """
        found = self._all(
            f"WHERE state = 'complete' AND removed_at IS NULL AND {_VERIFIED_AT} <= ? "
            f"AND touched_s <= ? AND {_ORIGIN} = id AND ({_VERIFIED_AT}, id) > (?, ?) "
            f"ORDER BY {_VERIFIED_AT}, id LIMIT ?",
            verified_by,
            ended_by_s,
            *after,
            limit,
        )
        return [(one, one.receipt) for one in found if one.receipt is not None]

    def is_used_since(self, target: str, record: UploadRecord) -> bool:
        """Whether a later upload than *record* was, or is about to be, published there."""
        row = self._connection.execute(
            "SELECT 1 FROM uploads WHERE target = ? AND id != ? AND (state = 'publishing' "
            f"OR (state = 'complete' AND {_ORIGIN} = id AND touched_s >= ?)) LIMIT 1",
            (target, record.id, record.touched_s),
        )
        return row.fetchone() is not None

    def removals(self) -> list[Removal]:
        """Return what is marked as removed and was not finished."""
        rows = self._connection.execute("SELECT path, upload_id, identity FROM removals")
        return [Removal(*row) for row in rows]

    def corruptions_after(self, seq: int) -> list[int]:
        """Return the numbers of events after *seq* that tell of a published file gone bad."""
        rows = self._connection.execute(
            "SELECT seq FROM events WHERE type = ? AND seq > ? ORDER BY seq",
            (events.CORRUPTED, seq),
        )
        return [int(row[0]) for row in rows]

    def last_of(self, kinds: AbstractSet[str]) -> str | None:
        """Return the type of the newest event that is of one of these *kinds*."""
        marks = ", ".join("?" * len(kinds))
        row = self._connection.execute(
            f"SELECT type FROM events WHERE type IN ({marks}) ORDER BY seq DESC LIMIT 1",
            tuple(kinds),
        ).fetchone()
        return None if row is None else str(row[0])

    def open_count(self, device: str) -> int:
        row = self._connection.execute(
            "SELECT count(*) FROM uploads WHERE state = 'open' AND device = ?", (device,)
        ).fetchone()
        return int(row[0])

    def reserved_bytes(self, device: str, *, besides: str) -> int:
        """Return what unfinished uploads of *device* will hold, without the upload *besides*.

        One whose length is not known counts as far as its bytes reach.
        """
        row = self._connection.execute(
            "SELECT sum(coalesce(length, json_extract(received, '$[#-1][1]'), 0)) FROM uploads "
            "WHERE state IN ('open', 'verifying', 'publishing') AND device = ? AND id != ?",
            (device, besides),
        ).fetchone()
        return int(row[0] or 0)

    def page(
        self, *, device: str | None, state: str | None, after: str | None, limit: int
    ) -> list[UploadRecord]:
        """Return uploads in the order of their ids, from after *after*; None: any."""
        return self._all(
            "WHERE id > ? AND (? IS NULL OR device = ?) AND (? IS NULL OR state = ?) "
            "ORDER BY id LIMIT ?",
            after or "",
            device,
            device,
            state,
            state,
            limit,
        )

    def in_state(self, state: State) -> list[UploadRecord]:
        return self._all("WHERE state = ?", state.value)

    def idle_open(self, before_s: float) -> list[str]:
        """Return ids of open uploads that got no byte since uptime *before_s*."""
        rows = self._connection.execute(
            "SELECT id FROM uploads WHERE state = 'open' AND touched_s < ?", (before_s,)
        )
        return [str(row[0]) for row in rows]

    def note(self, upload_id: str, key: str) -> str | None:
        """Return what a protocol wrote down beside an upload."""
        row = self._connection.execute(
            "SELECT value FROM notes WHERE upload_id = ? AND key = ?", (upload_id, key)
        ).fetchone()
        return None if row is None else str(row[0])

    def notes(self, upload_id: str) -> dict[str, str]:
        return dict(
            self._connection.execute(
                "SELECT key, value FROM notes WHERE upload_id = ?", (upload_id,)
            ).fetchall()
        )

    def census(self) -> Census:
        """Count the uploads that have not ended; one pass over their rows."""
        rows = self._connection.execute(
            "SELECT state, count(*), min(created_at), "
            "coalesce(sum(max(0, length - (SELECT coalesce(sum("
            "json_extract(value, '$[1]') - json_extract(value, '$[0]')), 0) "
            "FROM json_each(received)))), 0) "
            "FROM uploads WHERE state IN ('open', 'verifying', 'publishing') GROUP BY state"
        ).fetchall()
        return Census(
            by_state={str(state): int(count) for state, count, _, _ in rows},
            oldest_at=min((oldest for _, _, oldest, _ in rows), default=None),
            due_bytes=sum(int(due) for *_, due in rows),
        )

    def uptime_s(self) -> float:
        return float(self._connection.execute("SELECT seconds FROM uptime").fetchone()[0])

    def _one(self, where: str, *values: object) -> UploadRecord | None:
        row = self._connection.execute(_SELECT + where, values).fetchone()
        return None if row is None else _record(row)

    def _all(self, where: str, *values: object) -> list[UploadRecord]:
        return [_record(row) for row in self._connection.execute(_SELECT + where, values)]


class Transaction(Queries):
    """Reads and writes of one job; durable when the transaction around it has committed."""

    def insert(self, record: UploadRecord) -> None:
        values = _values(record)
        marks = ", ".join("?" * len(values))
        self._connection.execute(
            f"INSERT INTO uploads ({_COLUMNS}) VALUES ({marks})",
            values,
        )
        self.tell(events.CREATED, record)

    def save(self, record: UploadRecord) -> None:
        """Write what can change in the life of an upload."""
        self._connection.execute(
            "UPDATE uploads SET length = ?, digest = ?, state = ?, received = ?, touched_s = ?, "
            "target = ?, receipt = ? WHERE id = ?",
            (
                record.length,
                None if record.digest is None else record.digest.value,
                record.state.value,
                json.dumps(record.received.to_pairs(), separators=(",", ":")),
                record.touched_s,
                record.target,
                None if record.receipt is None else json.dumps(record.receipt.to_json()),
                record.id,
            ),
        )
        if record.state in events.OF_STATE:
            self.tell(events.OF_STATE[record.state], record)

    def mark_removed(self, record: UploadRecord, removal: Removal, removed_at: str) -> None:
        """Give up a published file: it is told, and its name is to go once this commits.

        Uploads that were given its receipt are marked with it.
        """
        self._connection.execute(
            f"UPDATE uploads SET removed_at = ? WHERE target = ? AND state = 'complete' "
            f"AND {_ORIGIN} = ?",
            (removed_at, removal.path, record.id),
        )
        self._connection.execute(
            "INSERT OR REPLACE INTO removals VALUES (?, ?, ?)",
            (removal.path, removal.upload_id, removal.identity),
        )
        self.tell(events.REMOVED, record, removed_at=removed_at)

    def end_removal(self, path: str) -> None:
        self._connection.execute("DELETE FROM removals WHERE path = ?", (path,))

    def save_reading(self, reading: Reading) -> None:
        readings.save(self._connection, reading)

    def tell(self, kind: str, record: UploadRecord, **more: str) -> None:
        """Put an event into the outbox: it is true, and will be told, once this commits."""
        write_event(
            self._connection,
            kind,
            subject=record.id,
            device=record.device,
            data={**events.upload_data(record), **more},
        )

    def tell_of_server(self, kind: str, data: dict[str, Any]) -> None:
        """Put an event into the outbox that is no device's."""
        write_event(self._connection, kind, subject="storage", device="", data=data)

    def forget_events(self, before_s: float) -> None:
        """Delete events from before uptime *before_s* that nobody waits for any more.

        The newest that tells of the disk stays: it is how the disk was when last looked at.
        """
        kinds = tuple(events.STORAGE)
        self._connection.execute(
            "DELETE FROM events WHERE uptime_s < ? AND seq NOT IN "
            "(SELECT seq FROM deliveries WHERE state = 'pending') "
            "AND seq != coalesce((SELECT max(seq) FROM events WHERE type IN (?, ?)), 0)",
            (before_s, *kinds),
        )
        self._connection.execute("DELETE FROM deliveries WHERE seq NOT IN (SELECT seq FROM events)")

    def write_note(self, upload_id: str, key: str, value: str) -> None:
        self._connection.execute(
            "INSERT INTO notes VALUES (?, ?, ?) "
            "ON CONFLICT (upload_id, key) DO UPDATE SET value = excluded.value",
            (upload_id, key, value),
        )

    def set_uptime(self, seconds: float) -> None:
        self._connection.execute("UPDATE uptime SET seconds = ?", (seconds,))

    def forget_ended(self, before_s: float) -> int:
        """Delete expired and aborted uploads that ended before uptime *before_s*, with notes."""
        ended = "state IN ('expired', 'aborted') AND touched_s < ?"
        self._connection.execute(
            f"DELETE FROM notes WHERE upload_id IN (SELECT id FROM uploads WHERE {ended})",
            (before_s,),
        )
        return self._connection.execute(f"DELETE FROM uploads WHERE {ended}", (before_s,)).rowcount


def write_event(
    connection: sqlite3.Connection, kind: str, *, subject: str, device: str, data: dict[str, Any]
) -> None:
    """Add an event to the outbox, inside the transaction that makes it true."""
    # SQLite's clock: what runs in a transaction is given none, and the time is for people only.
    connection.execute(
        "INSERT INTO events (id, type, time, subject, device, data, uptime_s) VALUES "
        "(?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), ?, ?, ?, (SELECT seconds FROM uptime))",
        (f"evt_{secrets.token_hex(16)}", kind, subject, device, json.dumps(data)),
    )


def open_record(transaction: Transaction, upload_id: str) -> UploadRecord:
    """Return the upload as it is inside the transaction, if it takes bytes.

    Raises:
        Refused: there is no such upload, or it takes none.
    """
    record = transaction.known(upload_id)
    refuse_unless_open(record)
    return record


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
    )


def _record(row: tuple[Any, ...]) -> UploadRecord:
    (
        upload_id, device, key, name, folder, created_at, length, digest, modified_at, media_type,
        metadata, state, received, touched_s, target, receipt, removed_at,
    ) = row  # fmt: skip
    return UploadRecord(
        id=upload_id,
        device=device,
        key=key,
        name=name,
        folder=folder,
        created_at=created_at,
        length=length,
        digest=None if digest is None else Digest(digest),
        modified_at=modified_at,
        media_type=media_type,
        metadata=json.loads(metadata),
        state=State(state),
        received=RangeSet.from_pairs(json.loads(received)),
        touched_s=touched_s,
        target=target,
        receipt=None if receipt is None else Receipt.from_json(json.loads(receipt)),
        removed_at=removed_at,
    )
