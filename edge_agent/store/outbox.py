"""Events on their way to the broker: kept in the database until the broker has them.

An event is written in the transaction that makes it true, so none is lost and none is invented;
`reporter` takes them from here at its own pace. Bounded: weeks of a dead broker must not fill the
card.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.base.clock import Clock
from edge_agent.store.database import Database
from edge_agent.store.database_file import Connection
from edge_host.clock import rfc3339

SCHEMA = """
CREATE TABLE event (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  subject TEXT NOT NULL,
  data TEXT NOT NULL,
  created_at TEXT NOT NULL,
  clock TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  mono_ms INTEGER NOT NULL,
  is_low INTEGER NOT NULL,
  refused TEXT
) STRICT;
"""

MAX_EVENTS = 10_000
MAX_EVENT_BYTES = 8 * 1024 * 1024

_DROPPED = "spool.dropped"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something to tell the broker; written in the transaction that makes it true."""

    type: str
    """``file.completed`` and so on, without the ``edgeup.`` prefix."""
    data: Mapping[str, Any]
    subject: str = ""
    is_low: bool = False
    """May be dropped first when the outbox is full."""


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    seq: int
    """Rises per device for ever; survives restarts."""
    id: str
    type: str
    subject: str
    data: Mapping[str, Any]
    created_at: str
    clock: str
    boot_id: str
    mono_ms: int


class Outbox:
    """Events that the broker does not have yet. Safe to use from several threads."""

    def __init__(self, database: Database, *, clock: Clock, boot_id: str) -> None:
        self._database = database
        self._clock = clock
        self._boot_id = boot_id
        self.on_written: Callable[[], None] = lambda: None
        """Called, in the thread that wrote it, when an event is on disk: must return at once."""
        # Of this much it is known that it fits: counting all that waits at every write would take
        # longer the more there is. What leaves meanwhile is noticed when these are used up.
        self._events_left = 0
        self._bytes_left = 0

    def tell(self, *events: NewEvent) -> None:
        """Put events that belong to no recording into the outbox; durable on return."""
        with self._database.transaction() as run:
            for one in events:
                self.write(run, one)

    def undelivered(self, *, after_seq: int = 0, limit: int = 20) -> list[OutboxEvent]:
        """Return events that the broker has not acknowledged nor refused, in order."""
        with self._database.reading() as run:
            rows = run.execute(
                "SELECT seq, id, type, subject, data, created_at, clock, boot_id, mono_ms FROM event"
                " WHERE refused IS NULL AND seq > ? ORDER BY seq LIMIT ?",
                (after_seq, limit),
            ).fetchall()
        return [
            OutboxEvent(
                seq=row[0],
                id=row[1],
                type=row[2],
                subject=row[3],
                data=json.loads(row[4]),
                created_at=row[5],
                clock=row[6],
                boot_id=row[7],
                mono_ms=row[8],
            )
            for row in rows
        ]

    def settle(self, answers: Mapping[int, str | None]) -> None:
        """Write down what the broker said of events, by their numbers; durable on return.

        None: acknowledged with success, and forgotten. A reason: the broker will never take it, and
        it is set aside, so that the next ones can go.
        """
        with self._database.transaction() as run:
            run.executemany(
                "DELETE FROM event WHERE seq = ?",
                [(seq,) for seq, refusal in answers.items() if refusal is None],
            )
            run.executemany(
                "UPDATE event SET refused = ? WHERE seq = ?",
                [(refusal, seq) for seq, refusal in answers.items() if refusal is not None],
            )

    def retry_refused(self) -> int:
        """Offer refused events again (after a change of configuration or of the broker's rules)."""
        with self._database.transaction() as run:
            return run.execute("UPDATE event SET refused = NULL WHERE refused IS NOT NULL").rowcount

    def write(self, run: Connection, new: NewEvent) -> None:
        """Put an event into the outbox in the caller's transaction."""
        self._database.after_commit(self._tell_reader)
        if self._events_left <= 0 or self._bytes_left <= 0:
            self._make_room(run)
        self._insert_event(run, new)

    def _tell_reader(self) -> None:
        self.on_written()

    def _insert_event(self, run: Connection, new: NewEvent) -> None:
        data = json.dumps(dict(new.data), separators=(",", ":"))
        self._events_left -= 1
        self._bytes_left -= len(data)
        run.execute(
            "INSERT INTO event (id, type, subject, data, created_at, clock, boot_id, mono_ms,"
            " is_low) VALUES (?,?,?,?,?,?,?,?,?)",
            (
                secrets.token_hex(16),
                new.type,
                new.subject,
                data,
                rfc3339(self._clock.now_utc()),
                "synced" if self._clock.is_synchronised() else "unsynced",
                self._boot_id,
                int(self._clock.now_s() * 1000),
                int(new.is_low),
            ),
        )

    def _make_room(self, run: Connection) -> None:
        """Drop the oldest tenth when full, low ones first, and leave one note of all that went."""
        count, size = run.execute(
            "SELECT count(*), coalesce(sum(length(data)), 0) FROM event"
        ).fetchone()
        self._events_left, self._bytes_left = MAX_EVENTS - count, MAX_EVENT_BYTES - size
        if self._events_left > 0 and self._bytes_left > 0:
            return
        doomed = run.execute(
            "SELECT seq FROM event WHERE type != ? ORDER BY is_low DESC, seq LIMIT ?",
            (_DROPPED, max(1, count // 10)),
        ).fetchall()
        if not doomed:
            return
        note = {"from_seq": min(doomed)[0], "to_seq": max(doomed)[0], "count": len(doomed)}
        # A note that nobody has read is taken into the new one: notes alone would fill the card too.
        for seq, data in run.execute(
            "SELECT seq, data FROM event WHERE type = ?", (_DROPPED,)
        ).fetchall():
            older = json.loads(data)
            note["from_seq"] = min(note["from_seq"], older["from_seq"])
            note["to_seq"] = max(note["to_seq"], older["to_seq"])
            note["count"] += older["count"]
            doomed.append((seq,))
        run.executemany("DELETE FROM event WHERE seq = ?", doomed)
        self._insert_event(run, NewEvent(_DROPPED, note))
