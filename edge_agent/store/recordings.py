"""Everything the agent must remember, in one SQLite file.

Durable (WAL, ``synchronous=FULL``: on disk when a method returns): each recording's identity, its
idempotency key *before* the create request, the upload's id, the whole-file digest, the receipt, the
permission to delete, the events not yet delivered, and a few settings. Not here: offsets. The server
is asked for its ranges, so a lost offset costs one request and never a byte.

A database that fails its check is moved aside and made anew: what is in it can be found again by a
scan and by asking the server, which answers a known digest with the old receipt.

The parts over the one `Database`: recordings here, their order in `queue`, events for the broker in
`outbox`, small facts and counters in `notes`. A move of a recording writes to all of them at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from edge_agent.base.clock import Clock
from edge_agent.base.errors import StaleRecordingError
from edge_agent.core.recording import Found, Identity, Recording, Share
from edge_agent.core.upload import Event, State
from edge_agent.store.briefs import Briefs
from edge_agent.store.changes import Changes
from edge_agent.store.command_log import CommandLog
from edge_agent.store.counts import Counts
from edge_agent.store.database import Database
from edge_agent.store.database_file import Connection
from edge_agent.store.dates import Dates
from edge_agent.store.given_up import GivenUp
from edge_agent.store.group_places import GroupPlaces
from edge_agent.store.groups import Groups, place_in
from edge_agent.store.holdings import Holdings
from edge_agent.store.moves import Move, Moves, new_key
from edge_agent.store.notes import Notes
from edge_agent.store.orders import Orders
from edge_agent.store.outbox import NewEvent, Outbox
from edge_agent.store.queue import Chosen, EveryRecording, Queue, of_share
from edge_agent.store.reserve import Reserve
from edge_agent.store.running_time import RunningTime
from edge_agent.store.schema import (
    COLUMNS,
    MIGRATIONS,
    SCHEMA_VERSION,
    to_recording,
)
from edge_host.clock import rfc3339
from upload_protocol.messages import Receipt


class Store:
    """The agent's memory. Safe to use from several threads; each method is one transaction.

    Raises:
        StoreError: from any method, when the database cannot be read or written (disk full,
            read-only file system); nothing of that method's change is kept.
    """

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        *,
        clock: Clock,
        boot_id: str,
        queue: Queue | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._boot_id = boot_id
        self._queue = EveryRecording(database) if queue is None else queue
        self.outbox = outbox
        self.notes = Notes(database)
        self.holdings = Holdings(database)
        self.briefs = Briefs(database)
        self.counts = Counts(database)
        self.changes = Changes(database, self.notes)
        self.given_up = GivenUp(database)
        self.running = RunningTime(self.notes, clock, boot_id)
        self.dates = Dates(database, self.running, clock)
        self.commands = CommandLog(database, self.running)
        self.orders = Orders(database, self.notes, self.running, clock)
        self.groups = Groups(database, self.running, outbox)
        self.group_places = GroupPlaces(database)
        self._moves = Moves(outbox, self.notes, self.running, self.groups)
        self.priority_of: Callable[[Found | Recording], int] | None = None
        """Gives a recording its priority; None: all have the same."""

    @classmethod
    def open(
        cls, path: Path, *, clock: Clock, boot_id: str, reserve: Reserve | None = None
    ) -> Self:
        """Open or make the database at *path*; its folder must exist.

        *reserve* is given up for it where its disk is full.

        Raises:
            StoreTooNewError: written by a newer version.
            StoreError: cannot be opened at all.
        """
        database = Database.open(path, MIGRATIONS, now=clock.now_utc(), reserve=reserve)
        outbox = Outbox(database, clock=clock, boot_id=boot_id)
        return cls(database, outbox, clock=clock, boot_id=boot_id)

    @classmethod
    def open_read_only(cls, path: Path, *, clock: Clock, boot_id: str) -> Self:
        """Open for `status` beside a running agent or without one; writes nothing.

        Raises:
            StoreTooNewError: another version wrote it.
            StoreError: it cannot be read.
        """
        database = Database.open_read_only(path, SCHEMA_VERSION)
        outbox = Outbox(database, clock=clock, boot_id=boot_id)
        return cls(database, outbox, clock=clock, boot_id=boot_id)

    def only(self, ids: Collection[str]) -> Store:
        """Return the same memory, of which `in_states` and `due` tell the recordings *ids* alone."""
        chosen = Chosen(self.get, ids)
        return Store(
            self._database, self.outbox, clock=self._clock, boot_id=self._boot_id, queue=chosen
        )

    @property
    def moved_aside(self) -> Path | None:
        """Where a damaged database was put when this one was opened."""
        return self._database.moved_aside

    @property
    def is_durable(self) -> bool:
        """Whether what is written survives a power cut; False: its disk has no room, it is in memory."""
        return self._database.is_durable

    def settle(self) -> bool:
        """Write what is in memory to the disk, if there is room now; return whether it was."""
        return self._database.settle()

    def close(self) -> None:
        self._database.close()

    def add(self, found: Sequence[Found]) -> list[Recording]:
        """Remember new files in state SEEN, in one transaction, in the order given."""
        seen = (
            rfc3339(self._clock.now_utc()),
            self._clock.is_synchronised(),
            self.running.seen_s(),
        )
        with self._database.transaction() as run:
            self.running.write(run)
            return [self._insert(run, one, seen) for one in found]

    def _insert(self, run: Connection, found: Found, seen: tuple[str, bool, int]) -> Recording:
        identity = found.identity
        place = place_in(found.path, found.name)
        row = run.execute(
            "INSERT INTO recording (id, path, folder, name, device, inode, length, mtime_ns,"
            " ctime_ns, state, origin, supersedes, watch, priority, role, seen_at, is_seen_at_true,"
            " seen_s)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
            f" RETURNING {COLUMNS}",
            (
                secrets.token_hex(16),
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
                found.supersedes,
                found.watch,
                0 if self.priority_of is None else self.priority_of(found),
                place.role,
                *seen,
            ),
        ).fetchone()
        recording = to_recording(row)
        self.groups.join(run, recording, place)
        return recording

    def get(self, recording_id: str) -> Recording | None:
        rows = self._rows("WHERE id = ?", (recording_id,))
        return rows[0] if rows else None

    def newest_at(self, path: bytes) -> Recording | None:
        """Return what is remembered of the file at *path*, newest content first."""
        rows = self._rows("WHERE path = ? ORDER BY seq DESC LIMIT 1", (path,))
        return rows[0] if rows else None

    def owner_of(self, path: bytes, identity: Identity) -> Recording | None:
        """Return the recording at *path* whose file *identity* is, though a newer one may have that name, too."""
        rows = self._rows(
            "WHERE path = ? AND inode = ? ORDER BY seq DESC", (path, str(identity.inode))
        )
        over = (State.RELEASED, State.OVERWRITTEN)
        its = (one for one in rows if one.identity.is_same_content(identity))
        return next((one for one in its if one.state not in over), None)

    def superseded_by(self, recording: Recording) -> Receipt | None:
        """Return the receipt of the file's content of before, as long as that is remembered."""
        if recording.supersedes is None:
            return None
        rows = self._rows(
            "WHERE path = ? AND seq < ? AND receipt IS NOT NULL ORDER BY seq DESC LIMIT 1",
            (recording.path, recording.seq),
        )
        receipt = rows[0].receipt if rows else None
        return receipt if receipt and receipt.published_as == recording.supersedes else None

    def with_inode(self, inode: int) -> list[Recording]:
        """Return recordings with that inode number: where a renamed file may be found again."""
        return self._rows("WHERE inode = ? ORDER BY seq DESC", (str(inode),))

    def in_states(
        self,
        *states: State,
        after_seq: int = 0,
        limit: int | None = None,
        share: Share | None = None,
    ) -> list[Recording]:
        """Return recordings in *states*, oldest first; None: all of them, however many."""
        return self._queue.in_states(*states, after_seq=after_seq, limit=limit, share=share)

    def due(
        self,
        *states: State,
        after: Recording | None = None,
        at_least: int = 0,
        ahead_of: Recording | None = None,
        originals_from: int = 0,
        silent: Collection[str] = (),
        limit: int,
    ) -> list[Recording]:
        """Return recordings in *states* in the order of sending (see `Queue`)."""
        return self._queue.due(
            *states,
            after=after,
            at_least=at_least,
            ahead_of=ahead_of,
            originals_from=originals_from,
            silent=silent,
            limit=limit,
        )

    def send_newest_first(self, newest_first: bool) -> None:
        """Let `due` begin with what was found last, of those that are equally urgent, or first."""
        self._queue.newest_first = newest_first

    def prioritise(self, recordings: Sequence[Recording]) -> None:
        """Give each its priority anew, as `priority_of` says now; one transaction."""
        of = self.priority_of or (lambda _: 0)
        changed = [(wanted, one.seq) for one in recordings if (wanted := of(one)) != one.priority]
        if changed:
            with self._database.transaction() as run:
                run.executemany(
                    "UPDATE recording SET priority = ? WHERE seq = ? AND is_chosen = 0", changed
                )

    def raise_priority(self, numbers: Collection[int], priority: int) -> None:
        """Give those of *numbers* that nobody has chosen one for *priority*, if theirs is less."""
        with self._database.transaction() as run:
            run.executemany(
                "UPDATE recording SET priority = ? WHERE seq = ? AND is_chosen = 0 AND priority < ?",
                [(priority, one, priority) for one in numbers],
            )

    def choose_priority(self, recording: Recording, priority: int) -> None:
        """Give one its priority, on a person's word: no rule changes it afterwards."""
        with self._database.transaction() as run:
            run.execute(
                "UPDATE recording SET priority = ?, is_chosen = 1 WHERE seq = ?",
                (priority, recording.seq),
            )

    def latest(self, *states: State, limit: int) -> list[Recording]:
        """Return the newest recordings in *states*, newest first."""
        return self._queue.latest(*states, limit=limit)

    def places(
        self, *states: State, after_seq: int, limit: int, share: Share | None = None
    ) -> list[tuple[int, bytes, int, int, str]]:
        """Return number, path, device, inode and folder of recordings in *states*, oldest first."""
        marks = ",".join("?" * len(states))
        where, names = of_share(share)
        with self._database.reading() as run:
            # By number, which is the table's own order: the plus keeps SQLite from the index.
            rows: list[tuple[int, bytes, int, str, str]] = run.execute(
                "SELECT seq, path, device, inode, watch FROM recording"
                f" WHERE seq > ? AND +state IN ({marks}){where} ORDER BY seq LIMIT ?",
                (after_seq, *states, *names, limit),
            ).fetchall()
        return [(seq, path, device, int(inode), watch) for seq, path, device, inode, watch in rows]

    def adopt(self, before: str, after: str, tops: Collection[bytes]) -> None:
        """Give the recordings of the folder named *before* that lie below *tops* to the one named *after*.

        What the server is told of the place of one that it knows already stays as it was.
        """
        with self._database.transaction() as run:
            for top in {one.rstrip(b"/") + b"/" for one in tops}:
                run.execute(
                    "UPDATE recording SET watch = ? WHERE watch = ? AND substr(path, 1, ?) = ?",
                    (after, before, len(top), top),
                )

    def numbered(self, seq: int) -> Recording | None:
        rows = self._rows("WHERE seq = ?", (seq,))
        return rows[0] if rows else None

    def advance(
        self,
        recording: Recording,
        event: Event,
        *,
        tell: Sequence[NewEvent] = (),
        sent: int = 0,
        resent: int = 0,
        **changes: Any,
    ) -> Recording:
        """Move *recording* by the state table, with *changes* and the events that tell of it.

        One transaction, on disk on return.

        Args:
            recording: as it was read.
            event: what has happened to it.
            tell: what the broker is told of it.
            sent: bytes put on the wire for it, to be counted for life.
            resent: bytes of these that were sent before.
            changes: fields of `Recording`.

        Raises:
            StaleRecordingError: another worker moved it meanwhile; read it again.
            IllegalTransitionError: the table has no such row, and who was told that it is stale
                has come with the same move again.
            StoreError: not written; the recording is in its old state.
        """
        with self._database.transaction() as run:
            return self._moves.do(run, Move(recording, event, changes, tell, sent, resent))

    def advance_all(self, moves: Sequence[Move]) -> list[Recording]:
        """Do many moves in one transaction; leave out those that `advance` would call stale."""
        moved: list[Recording] = []
        with self._database.transaction() as run:
            for move in moves:
                with suppress(StaleRecordingError):
                    moved.append(self._moves.do(run, move))
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
            return self._moves.change(run, recording, changes, tell)

    def leave_upload(self, recording: Recording) -> None:
        """Let a recording begin anew, its upload stay at the server until that expires; durable on return."""
        with self._database.transaction() as run:
            anew = {"upload_id": None, "idempotency_key": None, "digest": None}
            self._moves.change(run, recording, anew, ())
            if recording.upload_id is not None:
                GivenUp.spare(run, recording.upload_id)

    def give_key(self, recording: Recording) -> str:
        """Give what an earlier version settled its idempotency key; durable on return."""
        key = new_key()
        self.update(recording, idempotency_key=key)
        return key

    def _rows(self, where: str, values: tuple[object, ...]) -> list[Recording]:
        with self._database.reading() as run:
            # `where` is one of this module's own literals; every value is bound.
            found = run.execute(f"SELECT {COLUMNS} FROM recording {where}", values).fetchall()
        return [to_recording(row) for row in found]
