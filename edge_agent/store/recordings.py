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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from edge_agent.base.clock import Clock
from edge_agent.base.errors import StaleRecordingError
from edge_agent.core.recording import Found, Identity, Recording
from edge_agent.core.upload import PENDING, Event, State, advance
from edge_agent.store.database import Connection, Database
from edge_agent.store.outbox import NewEvent, Outbox, OutboxEvent
from edge_agent.store.schema import (
    COLUMNS,
    MIGRATIONS,
    SCHEMA_VERSION,
    changed_columns,
    to_recording,
)
from edge_host.clock import rfc3339

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

_LAST_SEQ = 2**63 - 1

_KEEP_RELEASED = 1000
"""Released recordings remembered, for `status` and for people; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters for life; they survive restarts and never fall."""

    files_verified: int = 0
    files_failed: int = 0
    bytes_sent: int = 0
    bytes_resent: int = 0
    last_verified_at: str | None = None


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

    priority_of: Callable[[str, str], int] | None = None
    """Gives a new recording its priority, from folder and name; None: all have the same."""

    @classmethod
    def open(cls, path: Path, *, clock: Clock, boot_id: str) -> Self:
        """Open or make the database at *path*; its folder must exist.

        Raises:
            StoreTooNewError: written by a newer version.
            StoreError: cannot be opened at all.
        """
        database = Database.open(path, MIGRATIONS, now=clock.now_utc())
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
        seen_at = rfc3339(self._clock.now_utc())
        with self._database.transaction() as run:
            return [self._insert(run, one, seen_at) for one in found]

    def _insert(self, run: Connection, found: Found, seen_at: str) -> Recording:
        identity = found.identity
        row = run.execute(
            "INSERT INTO recording (id, path, folder, name, device, inode, length, mtime_ns,"
            " ctime_ns, state, origin, seen_at, priority) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
            f" RETURNING {COLUMNS}",
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
                0 if self.priority_of is None else self.priority_of(found.folder, found.name),
            ),
        ).fetchone()
        return to_recording(row)

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
        """Return recordings in *states*, oldest first; None: all of them, however many."""
        return self._by_state(states, "seq > ?", after_seq, "seq", limit)

    def due(
        self, *states: State, after: Recording | None = None, at_least: int = 0, limit: int
    ) -> list[Recording]:
        """Return recordings in *states* in the order of sending: by priority, then oldest first.

        Args:
            after: the last one of the page before.
            at_least: leave out those of a lower priority.
        """
        page: list[Recording] = []
        if after is None or after.priority > 0:
            page = self._ahead(states, after, at_least, limit)
        if len(page) < limit and at_least <= 0:
            after_seq = 0 if after is None or after.priority > 0 else after.seq
            page += self._by_state(
                states, "priority = 0 AND seq > ?", after_seq, "seq", limit - len(page)
            )
        return page

    def _ahead(
        self, states: Sequence[State], after: Recording | None, at_least: int, limit: int
    ) -> list[Recording]:
        last, seq = (_LAST_SEQ, 0) if after is None else (after.priority, after.seq)
        # `priority > 0` word for word: else SQLite does not see that the index holds all of them.
        one = (
            f"SELECT * FROM (SELECT {COLUMNS} FROM recording WHERE state = ? AND priority > 0"
            " AND priority >= ? AND (priority < ? OR (priority = ? AND seq > ?))"
            " ORDER BY priority DESC, seq LIMIT ?)"
        )
        values = [value for state in states for value in (state, at_least, last, last, seq, limit)]
        with self._database.reading() as run:
            rows = run.execute(
                f"{' UNION ALL '.join([one] * len(states))} ORDER BY priority DESC, seq LIMIT ?",
                (*values, limit),
            ).fetchall()
        return [to_recording(row) for row in rows]

    def prioritise(self, recordings: Sequence[Recording]) -> None:
        """Give each its priority anew, as `priority_of` says now; one transaction."""
        of = self.priority_of or (lambda _folder, _name: 0)
        changed = [
            (wanted, one.seq)
            for one in recordings
            if (wanted := of(one.folder, one.name)) != one.priority
        ]
        if changed:
            with self._database.transaction() as run:
                run.executemany("UPDATE recording SET priority = ? WHERE seq = ?", changed)

    def latest(self, *states: State, limit: int) -> list[Recording]:
        """Return the newest recordings in *states*, newest first."""
        return self._by_state(states, "seq <= ?", _LAST_SEQ, "seq DESC", limit)

    def _by_state(
        self, states: Sequence[State], where: str, bound: int, order: str, limit: int | None
    ) -> list[Recording]:
        """Look into the index once per state: SQLite would sort all that are in any of them."""
        one = (
            f"SELECT * FROM (SELECT {COLUMNS} FROM recording WHERE state = ? AND {where}"
            f" ORDER BY {order} LIMIT ?)"
        )
        most = -1 if limit is None else limit
        values = [value for state in states for value in (state, bound, most)]
        with self._database.reading() as run:
            # `where` and `order` are this module's own literals; every value is bound.
            rows = run.execute(
                f"{' UNION ALL '.join([one] * len(states))} ORDER BY {order} LIMIT ?",
                (*values, most),
            ).fetchall()
        return [to_recording(row) for row in rows]

    def places(self, *states: State, after_seq: int, limit: int) -> list[tuple[int, bytes, int]]:
        """Return number, path and device of recordings in *states*, oldest first."""
        marks = ",".join("?" * len(states))
        with self._database.reading() as run:
            # By number, which is the table's own order: the plus keeps SQLite from the index.
            rows: list[tuple[int, bytes, int]] = run.execute(
                f"SELECT seq, path, device FROM recording WHERE seq > ? AND +state IN ({marks})"
                " ORDER BY seq LIMIT ?",
                (after_seq, *states, limit),
            ).fetchall()
        return rows

    def numbered(self, seq: int) -> Recording | None:
        rows = self._rows("WHERE seq = ?", (seq,))
        return rows[0] if rows else None

    def counts(self) -> dict[State, tuple[int, int]]:
        """Return files and bytes per state."""
        with self._database.reading() as run:
            rows = run.execute("SELECT state, files, bytes FROM tally WHERE files > 0").fetchall()
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
        is_receipt = move.event is Event.RECEIPT_STORED
        if now.state is not move.recording.state or (
            # Rewritten, and sent once more, while the answer to the first time was on its way.
            is_receipt and now.digest != move.recording.digest
        ):
            raise StaleRecordingError(now.id)
        moved = replace(now, state=state, **move.changes)
        self._write(run, now, moved)
        if is_receipt:
            self._count(
                run,
                files_verified=1,
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
            now = self._current(run, recording)
            changed = replace(now, **changes)
            self._write(run, now, changed)
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
            f"SELECT {COLUMNS} FROM recording WHERE id = ?", (recording.id,)
        ).fetchone()
        if row is None:
            raise StaleRecordingError(recording.id)
        return to_recording(row)

    @staticmethod
    def _write(run: Connection, before: Recording, after: Recording) -> None:
        """Write what differs: an index whose columns are not named costs no page."""
        changed = changed_columns(before, after)
        if not changed:
            return
        # Names of `schema`'s own; every value is bound.
        columns = ", ".join(f"{column} = ?" for column in changed)
        run.execute(f"UPDATE recording SET {columns} WHERE seq = ?", (*changed.values(), after.seq))

    def _rows(self, where: str, values: tuple[object, ...]) -> list[Recording]:
        with self._database.reading() as run:
            # `where` is one of this module's own literals; every value is bound.
            found = run.execute(f"SELECT {COLUMNS} FROM recording {where}", values).fetchall()
        return [to_recording(row) for row in found]

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
        # The database may hold counters of other versions.
        stored = self.setting("totals") or {}
        return Totals(
            **{one.name: stored[one.name] for one in fields(Totals) if one.name in stored}
        )

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


def pending_bytes(counts: Mapping[State, tuple[int, int]]) -> int:
    """Return the bytes of all recordings that the server does not hold yet."""
    return sum(counts.get(state, (0, 0))[1] for state in PENDING)


def pending_files(counts: Mapping[State, tuple[int, int]]) -> int:
    return sum(counts.get(state, (0, 0))[0] for state in PENDING)
