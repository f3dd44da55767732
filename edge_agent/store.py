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
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from edge_agent.clock import Clock, rfc3339
from edge_agent.core.upload import PENDING, Event, State, advance
from edge_agent.errors import StoreError, StoreTooNewError
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

SCHEMA_VERSION = 1

_SCHEMA = """
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
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""

MAX_EVENTS = 10_000
MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Bounds of the outbox: weeks of a dead broker must not fill the card."""

_KEEP_RELEASED = 1000
"""Released recordings remembered, for `status` and for people; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one content of a file from another without reading it (``fstat``)."""

    device: int
    inode: int
    length: int
    mtime_ns: int
    ctime_ns: int

    def is_same_file(self, other: Identity) -> bool:
        """Return whether *other* is the same file by inode, whatever happened to its bytes."""
        return (self.device, self.inode) == (other.device, other.inode)

    def is_same_content(self, other: Identity) -> bool:
        """Return whether length and modification time agree.

        Device numbers change when a card is plugged in again and FAT invents inodes at mount, so
        these two are all that survives a reboot.
        """
        return (self.length, self.mtime_ns) == (other.length, other.mtime_ns)


@dataclass(frozen=True, slots=True)
class Found:
    """A file that a scan or a person names, not yet remembered."""

    path: bytes
    """Absolute, as the file system gives it."""
    folder: str
    """Relative to the watched folder, with ``/``, printable; empty for the folder itself."""
    name: str
    """Base name, printable: bytes that are no UTF-8 are percent-escaped."""
    identity: Identity
    origin: str = "watch"
    """``watch``: released by the retention rules; ``command``: sent once, never deleted by us."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One content of one file, from first sight until it is let go."""

    seq: int
    id: str
    path: bytes
    folder: str
    name: str
    identity: Identity
    state: State
    origin: str
    idempotency_key: str | None
    upload_id: str | None
    digest: Digest | None
    receipt: Receipt | None
    delete_allowed: bool
    failures: int
    """Consecutive failures, kept across restarts so that a reboot loop still backs off."""
    resent_bytes: int
    problem: str | None
    """Code of what is wrong, for FAILED and for warnings; None when all is well."""
    detail: str | None
    seen_at: str
    verified_at: str | None


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


class Store:
    """The agent's memory. Safe to use from several threads; each method is one transaction.

    Raises:
        StoreError: from any method, when the database cannot be read or written (disk full,
            read-only file system); nothing of that method's change is kept.
    """

    def __init__(self, connection: sqlite3.Connection, *, clock: Clock, boot_id: str) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self._clock = clock
        self._boot_id = boot_id
        self.moved_aside: Path | None = None
        """Where a damaged database was put when this one was opened."""

    @classmethod
    def open(cls, path: Path, *, clock: Clock, boot_id: str) -> Store:
        """Open or make the database at *path*; its folder must exist.

        Raises:
            StoreTooNewError: written by a newer version.
            StoreError: cannot be opened at all.
        """
        moved: Path | None = None
        try:
            connection = _connect(path)
        except sqlite3.DatabaseError as error:
            if not path.exists() or isinstance(error, sqlite3.OperationalError):
                msg = f"the state database {path} cannot be opened: {error}"
                raise StoreError(msg) from error
            moved = _move_aside(path, clock.utc())
            connection = _connect(path)
        try:
            _migrate(connection, path)
        except sqlite3.Error as error:
            connection.close()
            msg = f"the state database {path} cannot be prepared: {error}"
            raise StoreError(msg) from error
        except StoreError:
            connection.close()
            raise
        store = cls(connection, clock=clock, boot_id=boot_id)
        store.moved_aside = moved
        return store

    @classmethod
    def open_read_only(cls, path: Path, *, clock: Clock) -> Store:
        """Open for `status` beside a running agent or without one; writes nothing."""
        try:
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            msg = f"the state database {path} cannot be read: {error}"
            raise StoreError(msg) from error
        if version != SCHEMA_VERSION:
            connection.close()
            msg = f"the state database {path} has version {version}, this program reads {SCHEMA_VERSION}"
            raise StoreTooNewError(msg)
        return cls(connection, clock=clock, boot_id="")

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # --- recordings -------------------------------------------------------------------------

    def add(self, found: Sequence[Found]) -> list[Recording]:
        """Remember new files in state SEEN, in one transaction, in the order given."""
        seen_at = rfc3339(self._clock.utc())
        with self._transaction() as run:
            return [self._insert(run, one, seen_at) for one in found]

    def _insert(self, run: sqlite3.Connection, found: Found, seen_at: str) -> Recording:
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

    def each(self) -> Iterator[Recording]:
        """Yield every remembered recording, oldest first, a thousand at a time."""
        after = 0
        while rows := self._rows("WHERE seq > ? ORDER BY seq LIMIT 1000", (after,)):
            yield from rows
            after = rows[-1].seq

    def counts(self) -> dict[State, tuple[int, int]]:
        """Return files and bytes per state."""
        with self._reading() as run:
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
            StoreError: not written; the recording is in its old state.
        """
        moved = replace(recording, state=advance(recording.state, event), **changes)
        with self._transaction() as run:
            self._write(run, moved)
            if event is Event.RECEIPT_STORED:
                self._count(
                    run,
                    files_verified=1,
                    bytes_verified=moved.identity.length,
                    last_verified_at=moved.verified_at,
                )
            elif moved.state is State.FAILED:
                self._count(run, files_failed=1)
            for one in tell:
                self._tell(run, one)
        return moved

    def update(
        self, recording: Recording, *, tell: Sequence[NewEvent] = (), **changes: Any
    ) -> Recording:
        """Change facts without changing state; on disk on return."""
        changed = replace(recording, **changes)
        with self._transaction() as run:
            self._write(run, changed)
            for one in tell:
                self._tell(run, one)
        return changed

    def forget(self, recording: Recording) -> None:
        """Remove a recording that nothing depends on any more."""
        with self._transaction() as run:
            run.execute("DELETE FROM recording WHERE id = ?", (recording.id,))

    def forget_old_released(self) -> int:
        """Forget all but the newest released recordings; return how many went."""
        with self._transaction() as run:
            return run.execute(
                "DELETE FROM recording WHERE state = ? AND seq NOT IN"
                " (SELECT seq FROM recording WHERE state = ? ORDER BY seq DESC LIMIT ?)",
                (State.RELEASED, State.RELEASED, _KEEP_RELEASED),
            ).rowcount

    def _write(self, run: sqlite3.Connection, recording: Recording) -> None:
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
        with self._reading() as run:
            # `where` is one of this module's own literals; every value is bound.
            found = run.execute(f"SELECT {_COLUMNS} FROM recording {where}", values).fetchall()
        return [_recording(row) for row in found]

    # --- outbox -----------------------------------------------------------------------------

    def tell(self, *events: NewEvent) -> None:
        """Put events that belong to no recording into the outbox; durable on return."""
        with self._transaction() as run:
            for one in events:
                self._tell(run, one)

    def undelivered(self, *, after_seq: int = 0, limit: int = 20) -> list[OutboxEvent]:
        """Return events that the broker has not acknowledged nor refused, in order."""
        with self._reading() as run:
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

    def undelivered_count(self) -> int:
        with self._reading() as run:
            count: int = run.execute("SELECT count(*) FROM event WHERE refused IS NULL").fetchone()[
                0
            ]
            return count

    def delivered(self, seq: int) -> None:
        """Forget an event that the broker has acknowledged with success."""
        with self._transaction() as run:
            run.execute("DELETE FROM event WHERE seq = ?", (seq,))

    def refused(self, seq: int, reason: str) -> None:
        """Set an event aside that the broker will never take, so that the next ones can go."""
        with self._transaction() as run:
            run.execute("UPDATE event SET refused = ? WHERE seq = ?", (reason, seq))

    def retry_refused(self) -> int:
        """Offer refused events again (after a change of configuration or of the broker's rules)."""
        with self._transaction() as run:
            return run.execute("UPDATE event SET refused = NULL WHERE refused IS NOT NULL").rowcount

    def _tell(self, run: sqlite3.Connection, new: NewEvent) -> None:
        self._make_room(run)
        self._insert_event(run, new)

    def _insert_event(self, run: sqlite3.Connection, new: NewEvent) -> None:
        run.execute(
            "INSERT INTO event (id, type, subject, data, created_at, clock, boot_id, mono_ms,"
            " is_low) VALUES (?,?,?,?,?,?,?,?,?)",
            (
                uuid4().hex,
                new.type,
                new.subject,
                json.dumps(dict(new.data), separators=(",", ":")),
                rfc3339(self._clock.utc()),
                "synced" if self._clock.is_synchronised() else "unsynced",
                self._boot_id,
                int(self._clock.now_s() * 1000),
                int(new.is_low),
            ),
        )

    def _make_room(self, run: sqlite3.Connection) -> None:
        """Drop the oldest tenth when full, low ones first, and leave a note of what went."""
        count, size = run.execute(
            "SELECT count(*), coalesce(sum(length(data)), 0) FROM event"
        ).fetchone()
        if count < MAX_EVENTS and size < MAX_EVENT_BYTES:
            return
        doomed = run.execute(
            "SELECT seq FROM event WHERE type != 'spool.dropped' ORDER BY is_low DESC, seq LIMIT ?",
            (max(1, count // 10),),
        ).fetchall()
        first, last = min(doomed)[0], max(doomed)[0]
        run.executemany("DELETE FROM event WHERE seq = ?", doomed)
        self._insert_event(
            run,
            NewEvent("spool.dropped", {"from_seq": first, "to_seq": last, "count": len(doomed)}),
        )

    # --- settings and totals ----------------------------------------------------------------

    def setting(self, key: str) -> Any:
        """Return a remembered value, or None."""
        with self._reading() as run:
            row = run.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def remember(self, key: str, value: Any) -> None:
        """Store a JSON value; None forgets the key. Durable on return."""
        with self._transaction() as run:
            self._remember(run, key, value)

    @staticmethod
    def _remember(run: sqlite3.Connection, key: str, value: Any) -> None:
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
        with self._transaction() as run:
            self._count(run, bytes_sent=sent, bytes_resent=resent)

    def _count(self, run: sqlite3.Connection, **added: Any) -> None:
        row = run.execute("SELECT value FROM setting WHERE key = 'totals'").fetchone()
        totals = {} if row is None else json.loads(row[0])
        for key, value in added.items():
            totals[key] = totals.get(key, 0) + value if isinstance(value, int) else value
        self._remember(run, "totals", totals)

    # --- connection -------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                msg = f"the state database cannot be read: {error}"
                raise StoreError(msg) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                msg = f"the state database cannot be written: {error}"
                raise StoreError(msg) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA journal_size_limit=4194304")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        connection.close()
        raise
    return connection


def _move_aside(path: Path, now: datetime) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%S}")
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
    return aside


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        msg = (
            f"the state database {path} was written by a newer edge-agent (version {version}, this"
            f" one knows {SCHEMA_VERSION}): upgrade edge-agent, or move the file aside to start anew"
        )
        raise StoreTooNewError(msg)
    if version == SCHEMA_VERSION:
        return
    # One transaction: a power cut leaves either no schema or all of it.
    connection.executescript(
        f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
    )


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
