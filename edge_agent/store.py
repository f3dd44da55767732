"""Everything the agent must remember, in one SQLite file; the only module that writes it.

Durable (WAL, ``synchronous=FULL``: on disk when a method returns): each recording's identity, its
idempotency key *before* the create request, the upload's id, the whole-file digest, the receipt, the
permission to delete, the events not yet delivered, and a few settings. Not here: offsets. The server
is asked for its ranges, so a lost offset costs one request and never a byte.

A database that fails its check is moved aside and made anew: what is in it can be found again by a
scan and by asking the server, which answers a known digest with the old receipt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from edge_agent import outbox
from edge_agent.clock import Clock, rfc3339
from edge_agent.core.upload import PENDING, Event, State, advance
from edge_agent.database import Connection, Database
from edge_agent.errors import StaleRecordingError
from edge_agent.outbox import NewEvent, Outbox, OutboxEvent
from edge_agent.recording import Found, Identity, Recording
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

__all__ = [
    "Found",
    "Identity",
    "NewEvent",
    "OutboxEvent",
    "Recording",
    "Store",
    "Totals",
    "pending_bytes",
    "pending_files",
]

_RECORDINGS = """
CREATE TABLE recording (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  path BLOB NOT NULL,
  folder TEXT NOT NULL,
  name TEXT NOT NULL,
  device INTEGER NOT NULL,
  inode TEXT NOT NULL,
  length INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL,
  state TEXT NOT NULL,
  origin TEXT NOT NULL,
  idempotency_key TEXT,
  upload_id TEXT,
  digest BLOB,
  receipt TEXT,
  delete_allowed INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  resent_bytes INTEGER NOT NULL DEFAULT 0,
  problem TEXT,
  detail TEXT,
  seen_at TEXT NOT NULL,
  verified_at TEXT
) STRICT;
CREATE INDEX recording_by_state ON recording(state, seq);
CREATE INDEX recording_by_path ON recording(path);
CREATE INDEX recording_by_inode ON recording(inode);
"""
_SETTINGS = "CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"

MIGRATIONS = (_RECORDINGS + outbox.SCHEMA + _SETTINGS,)
"""Entry n leads from version n to n + 1; entries are only ever added."""

SCHEMA_VERSION = len(MIGRATIONS)

_KEEP_RELEASED = 1000
"""Released recordings remembered, for `status` and for people; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters for life; they survive restarts and never fall."""

    files_verified: int = 0
    files_failed: int = 0
    bytes_verified: int = 0
    bytes_sent: int = 0
    bytes_resent: int = 0
    last_verified_at: str | None = None


_COLUMNS = (
    "seq, id, path, folder, name, device, inode, length, mtime_ns, ctime_ns, state, origin, "
    "idempotency_key, upload_id, digest, receipt, delete_allowed, failures, resent_bytes, problem, "
    "detail, seen_at, verified_at"
)


@dataclass(frozen=True, slots=True)
class Move:
    """One step of one recording through the state table."""

    recording: Recording
    event: Event
    changes: Mapping[str, Any] = field(default_factory=dict)
    tell: Sequence[NewEvent] = ()


class Store(Outbox):
    """The agent's memory. Safe to use from several threads; each method is one transaction.

    Raises:
        StoreError: from any method, when the database cannot be read or written (disk full,
            read-only file system); nothing of that method's change is kept.
    """

    @classmethod
    def open(cls, path: Path, *, clock: Clock, boot_id: str) -> Self:
        """Open or make the database at *path*; its folder must exist.

        Raises:
            StoreTooNewError: written by a newer version.
            StoreError: cannot be opened at all.
        """
        database = Database.open(path, MIGRATIONS, now=clock.utc())
        return cls(database, clock=clock, boot_id=boot_id)

    @classmethod
    def open_read_only(cls, path: Path, *, clock: Clock) -> Self:
        """Open for `status` beside a running agent or without one; writes nothing."""
        database = Database.open_read_only(path, SCHEMA_VERSION)
        return cls(database, clock=clock, boot_id="")

    @property
    def moved_aside(self) -> Path | None:
        """Where a damaged database was put when this one was opened."""
        return self._database.moved_aside

    def close(self) -> None:
        self._database.close()

    # --- recordings -------------------------------------------------------------------------

    def add(self, found: Sequence[Found]) -> list[Recording]:
        """Remember new files in state SEEN, in one transaction, in the order given."""
        seen_at = rfc3339(self._clock.utc())
        with self._database.transaction() as run:
            return [self._insert(run, one, seen_at) for one in found]

    def _insert(self, run: Connection, found: Found, seen_at: str) -> Recording:
        identity = found.identity
        row = run.execute(
            "INSERT INTO recording (id, path, folder, name, device, inode, length, mtime_ns,"
            " ctime_ns, state, origin, seen_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
            f" RETURNING {_COLUMNS}",
            (
                uuid4().hex,
                found.path,
                found.folder,
                found.name,
                identity.device,
                str(identity.inode),
                identity.length,
                identity.mtime_ns,
                identity.ctime_ns,
                State.SEEN,
                found.origin,
                seen_at,
            ),
        ).fetchone()
        return _recording(row)

    def get(self, recording_id: str) -> Recording | None:
        rows = self._rows("WHERE id = ?", (recording_id,))
        return rows[0] if rows else None

    def newest_at(self, path: bytes) -> Recording | None:
        """Return what is remembered of the file at *path*, newest content first."""
        rows = self._rows("WHERE path = ? ORDER BY seq DESC LIMIT 1", (path,))
        return rows[0] if rows else None

    def with_inode(self, inode: int) -> list[Recording]:
        """Return recordings with that inode number: where a renamed file may be found again."""
        return self._rows("WHERE inode = ? ORDER BY seq DESC", (str(inode),))

    def in_states(
        self, *states: State, after_seq: int = 0, limit: int | None = None
    ) -> list[Recording]:
        """Return recordings in *states*, oldest first."""
        marks = ",".join("?" * len(states))
        return self._rows(
            f"WHERE state IN ({marks}) AND seq > ? ORDER BY seq LIMIT ?",
            (*states, after_seq, -1 if limit is None else limit),
        )

    def latest(self, *states: State, limit: int) -> list[Recording]:
        """Return the newest recordings in *states*, newest first."""
        marks = ",".join("?" * len(states))
        return self._rows(f"WHERE state IN ({marks}) ORDER BY seq DESC LIMIT ?", (*states, limit))

    def each(self) -> Iterator[Recording]:
        """Yield every remembered recording, oldest first, a thousand at a time."""
        after = 0
        while rows := self._rows("WHERE seq > ? ORDER BY seq LIMIT 1000", (after,)):
            yield from rows
            after = rows[-1].seq

    def counts(self) -> dict[State, tuple[int, int]]:
        """Return files and bytes per state."""
        with self._database.reading() as run:
            rows = run.execute(
                "SELECT state, count(*), coalesce(sum(length), 0) FROM recording GROUP BY state"
            ).fetchall()
        return {State(state): (files, length) for state, files, length in rows}

    def advance(
        self,
        recording: Recording,
        event: Event,
        *,
        tell: Sequence[NewEvent] = (),
        **changes: Any,
    ) -> Recording:
        """Move *recording* by the state table, with *changes* and the events that tell of it.

        One transaction, on disk on return. *changes* are fields of `Recording`.

        Raises:
            IllegalTransitionError: the table has no such row.
            StaleRecordingError: another worker moved it meanwhile; read it again.
            StoreError: not written; the recording is in its old state.
        """
        with self._database.transaction() as run:
            return self._advance(run, Move(recording, event, changes, tell))

    def advance_all(self, moves: Sequence[Move]) -> list[Recording]:
        """Do many moves in one transaction; leave out those that `advance` would call stale."""
        moved: list[Recording] = []
        with self._database.transaction() as run:
            for move in moves:
                with suppress(StaleRecordingError):
                    moved.append(self._advance(run, move))
        return moved

    def _advance(self, run: Connection, move: Move) -> Recording:
        state = advance(move.recording.state, move.event)
        now = self._current(run, move.recording)
        if now.state is not move.recording.state:
            raise StaleRecordingError(now.id)
        moved = replace(now, state=state, **move.changes)
        self._write(run, moved)
        if move.event is Event.RECEIPT_STORED:
            self._count(
                run,
                files_verified=1,
                bytes_verified=moved.identity.length,
                last_verified_at=moved.verified_at,
            )
        elif moved.state is State.FAILED:
            self._count(run, files_failed=1)
        for one in move.tell:
            self.write(run, one)
        return moved

    def update(
        self, recording: Recording, *, tell: Sequence[NewEvent] = (), **changes: Any
    ) -> Recording:
        """Change facts without changing state; on disk on return.

        Only *changes* are written: what another worker wrote since *recording* was read stays.

        Raises:
            StaleRecordingError: it was forgotten meanwhile.
        """
        with self._database.transaction() as run:
            changed = replace(self._current(run, recording), **changes)
            self._write(run, changed)
            for one in tell:
                self.write(run, one)
        return changed

    def forget(self, recording: Recording) -> None:
        """Remove a recording that nothing depends on any more."""
        with self._database.transaction() as run:
            run.execute("DELETE FROM recording WHERE id = ?", (recording.id,))

    def forget_old_released(self) -> int:
        """Forget all but the newest released recordings; return how many went."""
        with self._database.transaction() as run:
            return run.execute(
                "DELETE FROM recording WHERE state = ? AND seq NOT IN"
                " (SELECT seq FROM recording WHERE state = ? ORDER BY seq DESC LIMIT ?)",
                (State.RELEASED, State.RELEASED, _KEEP_RELEASED),
            ).rowcount

    @staticmethod
    def _current(run: Connection, recording: Recording) -> Recording:
        """Return the row as it is now: the watcher renames what the sender is busy with."""
        row = run.execute(
            f"SELECT {_COLUMNS} FROM recording WHERE id = ?", (recording.id,)
        ).fetchone()
        if row is None:
            raise StaleRecordingError(recording.id)
        return _recording(row)

    def _write(self, run: Connection, recording: Recording) -> None:
        identity = recording.identity
        run.execute(
            "UPDATE recording SET path=?, folder=?, name=?, device=?, inode=?, length=?, mtime_ns=?,"
            " ctime_ns=?, state=?, origin=?, idempotency_key=?, upload_id=?, digest=?, receipt=?,"
            " delete_allowed=?, failures=?, resent_bytes=?, problem=?, detail=?, verified_at=?"
            " WHERE id=?",
            (
                recording.path,
                recording.folder,
                recording.name,
                identity.device,
                str(identity.inode),
                identity.length,
                identity.mtime_ns,
                identity.ctime_ns,
                recording.state,
                recording.origin,
                recording.idempotency_key,
                recording.upload_id,
                None if recording.digest is None else recording.digest.value,
                None if recording.receipt is None else json.dumps(recording.receipt.to_json()),
                int(recording.delete_allowed),
                recording.failures,
                recording.resent_bytes,
                recording.problem,
                recording.detail,
                recording.verified_at,
                recording.id,
            ),
        )

    def _rows(self, where: str, values: tuple[object, ...]) -> list[Recording]:
        with self._database.reading() as run:
            # `where` is one of this module's own literals; every value is bound.
            found = run.execute(f"SELECT {_COLUMNS} FROM recording {where}", values).fetchall()
        return [_recording(row) for row in found]

    # --- settings and totals ----------------------------------------------------------------

    def setting(self, key: str) -> Any:
        """Return a remembered value, or None."""
        with self._database.reading() as run:
            row = run.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def remember(self, key: str, value: Any) -> None:
        """Store a JSON value; None forgets the key. Durable on return."""
        with self._database.transaction() as run:
            self._remember(run, key, value)

    @staticmethod
    def _remember(run: Connection, key: str, value: Any) -> None:
        if value is None:
            run.execute("DELETE FROM setting WHERE key = ?", (key,))
        else:
            run.execute(
                "INSERT INTO setting VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value=excluded.value",
                (key, json.dumps(value)),
            )

    def totals(self) -> Totals:
        return Totals(**(self.setting("totals") or {}))

    def count_sent(self, *, sent: int, resent: int) -> None:
        """Add to the bytes put on the wire; called at the end of an upload, not per request."""
        with self._database.transaction() as run:
            self._count(run, bytes_sent=sent, bytes_resent=resent)

    def _count(self, run: Connection, **added: Any) -> None:
        row = run.execute("SELECT value FROM setting WHERE key = 'totals'").fetchone()
        totals = {} if row is None else json.loads(row[0])
        for key, value in added.items():
            totals[key] = totals.get(key, 0) + value if isinstance(value, int) else value
        self._remember(run, "totals", totals)


def _recording(row: Sequence[Any]) -> Recording:
    return Recording(
        seq=row[0],
        id=row[1],
        path=row[2],
        folder=row[3],
        name=row[4],
        identity=Identity(row[5], int(row[6]), row[7], row[8], row[9]),
        state=State(row[10]),
        origin=row[11],
        idempotency_key=row[12],
        upload_id=row[13],
        digest=None if row[14] is None else Digest(row[14]),
        receipt=None if row[15] is None else Receipt.from_json(json.loads(row[15])),
        delete_allowed=bool(row[16]),
        failures=row[17],
        resent_bytes=row[18],
        problem=row[19],
        detail=row[20],
        seen_at=row[21],
        verified_at=row[22],
    )


def pending_bytes(counts: Mapping[State, tuple[int, int]]) -> int:
    """Return the bytes of all recordings that the server does not hold yet."""
    return sum(counts.get(state, (0, 0))[1] for state in PENDING)


def pending_files(counts: Mapping[State, tuple[int, int]]) -> int:
    return sum(counts.get(state, (0, 0))[0] for state in PENDING)
