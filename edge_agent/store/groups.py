"""What is known of each group of recordings, and what the server was told of it.

A recording joins its group in the transaction that remembers it first, and what its group is told by (name,
length, receipt) stays here when the recording itself is forgotten. `look_s` says when there may be
something to do with a group; most have none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from edge_agent.core.families import place_of
from edge_agent.core.group_standing import GroupFile
from edge_agent.core.groups import Place, Role
from edge_agent.core.printable import printable
from edge_agent.core.recording import Recording
from edge_agent.core.upload import PENDING, State
from edge_agent.store import group_joining
from edge_agent.store.database import Database
from edge_agent.store.database_file import Connection
from edge_agent.store.notes import Notes
from edge_agent.store.outbox import NewEvent, Outbox
from edge_agent.store.running_time import RunningTime
from edge_host.clock import rfc3339
from upload_protocol.messages import Receipt

_KEPT = 2000
"""Groups that stay known though none of their recordings is."""

_ADOPTED, _PAGE = "groups.adopted", 500

_COLUMNS = "seq, id, family, title, series, serial, found_s, told, revision, changes, is_complete"


@dataclass(frozen=True, slots=True)
class Group:
    """One group, without its members."""

    seq: int
    id: str
    """What the server knows it by: random, so that no other device's is the same."""
    family: str
    title: str
    series: str | None
    serial: int | None
    found_s: int
    """When the last of it was found, in the device's running time."""
    told: bytes | None
    """Digest of what the server was told of it last."""
    revision: int
    """How often it was complete."""
    changes: int
    """Counts what has come to it: what was decided about an earlier count is decided anew."""
    is_complete: bool


class Recordings(Protocol):
    """What `adopt_all` needs of the store."""

    notes: Notes
    groups: Groups

    def in_states(
        self, *states: State, after_seq: int = 0, limit: int | None = None
    ) -> list[Recording]: ...


class Groups:
    """Safe to use from several threads; what has a `Connection` is part of the caller's transaction.

    Raises:
        StoreError: from any method, when the database cannot be read or written.
    """

    def __init__(
        self, database: Database, running: RunningTime, outbox: Outbox, quiet_s: float = 120.0
    ) -> None:
        self._database = database
        self._running = running
        self._outbox = outbox
        self.quiet_s = quiet_s
        """After so long without another file a group is looked at."""

    def join(self, run: Connection, recording: Recording, place: Place) -> None:
        """Have a new recording join those that it belongs to; the first of a group is by itself."""
        group_joining.join(run, recording, place, now_s=self._running.now_s(), quiet_s=self.quiet_s)

    def of(self, recording_id: str) -> Group | None:
        """Return the group of a recording."""
        with self._database.reading() as run:
            row = run.execute(
                f"SELECT {_COLUMNS} FROM file_group WHERE seq ="
                " (SELECT m.group_seq FROM group_member m JOIN recording r ON r.seq = m.recording"
                " WHERE r.id = ?)",
                (recording_id,),
            ).fetchone()
        return None if row is None else _group(row)

    def due(self, limit: int) -> list[Group]:
        """Return groups with which there may be something to do now, that longest due first."""
        with self._database.reading() as run:
            rows = run.execute(
                f"SELECT {_COLUMNS} FROM file_group WHERE look_s IS NOT NULL AND look_s <= ?"
                " ORDER BY look_s, seq LIMIT ?",
                (self._running.now_s(), limit),
            ).fetchall()
        return [_group(row) for row in rows]

    def next_s(self) -> float | None:
        """Return the seconds until the next is due; None: there is none."""
        with self._database.reading() as run:
            (look_s,) = run.execute(
                "SELECT min(look_s) FROM file_group WHERE look_s IS NOT NULL"
            ).fetchone()
        return None if look_s is None else max(0.0, look_s - self._running.now_s())

    def quiet_for_s(self, group: Group) -> float:
        """Return how long ago the last of *group* was found, in the device's running time."""
        return max(0, self._running.now_s() - group.found_s)

    def has_later(self, group: Group) -> bool:
        """Return whether the same recorder has begun a later recording."""
        if group.series is None:
            return False
        with self._database.reading() as run:
            found = run.execute(
                "SELECT 1 FROM group_member WHERE series = ? AND serial > ? AND recording >"
                " (SELECT max(recording) FROM group_member WHERE group_seq = ?) LIMIT 1",
                (group.series, group.serial, group.seq),
            ).fetchone()
        return found is not None

    def members(self, group: Group, limit: int) -> list[GroupFile]:
        """Return the members of a group, as they are now, in the order of their names; *limit* of them."""
        with self._database.reading() as run:
            rows = run.execute(
                "SELECT m.recording, m.name, m.folder, m.role, m.part, m.pattern, r.state,"
                " coalesce(r.length, m.length), coalesce(r.mtime_ns, m.mtime_ns), m.receipt"
                " FROM group_member m LEFT JOIN recording r ON r.seq = m.recording"
                " WHERE m.group_seq = ? ORDER BY m.folder, m.name, m.recording LIMIT ?",
                (group.seq, limit),
            ).fetchall()
        return [_member(row) for row in rows]

    def put_off(self, waits: Sequence[tuple[Group, float | None]]) -> None:
        """Look at groups again in so many seconds; None: only when something is new of them."""
        if not waits:
            return
        now_s = self._running.now_s()
        with self._database.transaction() as run:
            run.executemany(
                "UPDATE file_group SET look_s = ? WHERE seq = ? AND changes = ?",
                [
                    (
                        None if wait_s is None else now_s + max(1, round(wait_s)),
                        one.seq,
                        one.changes,
                    )
                    for one, wait_s in waits
                ],
            )

    def told(
        self, group: Group, digest: bytes, *, is_complete: bool, tell: Sequence[NewEvent] = ()
    ) -> None:
        """Write down what the server knows of *group* now, with the events that tell of it.

        Where the group has changed since it was read it is looked at again.
        """
        with self._database.transaction() as run:
            run.execute(
                "UPDATE file_group SET told = ?, is_complete = ?, revision = revision + ?,"
                " look_s = CASE WHEN changes = ? THEN NULL ELSE look_s END WHERE seq = ?",
                (digest, is_complete, is_complete, group.changes, group.seq),
            )
            for one in tell:
                self._outbox.write(run, one)

    def adopt(self, recordings: Sequence[Recording]) -> None:
        """Have recordings of an earlier version, that are in no group, join theirs; one transaction."""
        with self._database.transaction() as run:
            for one in recordings:
                known = run.execute(
                    "SELECT 1 FROM group_member WHERE recording = ?", (one.seq,)
                ).fetchone()
                if known is None:
                    self.place(run, one)

    def place(self, run: Connection, recording: Recording) -> Role:
        """Give *recording* its role and its group by its name; return the role."""
        place = place_in(recording.path, recording.name)
        run.execute("UPDATE recording SET role = ? WHERE seq = ?", (place.role, recording.seq))
        run.execute("DELETE FROM group_member WHERE recording = ?", (recording.seq,))
        self.join(run, recording, place)
        return place.role

    def forget_old(self, limit: int) -> None:
        """Forget the oldest groups of which nothing is remembered but that they were there."""
        with self._database.transaction() as run:
            rows = run.execute(
                "SELECT seq FROM file_group WHERE look_s IS NULL AND seq <="
                " (SELECT max(seq) FROM file_group) - ? AND NOT EXISTS (SELECT 1 FROM group_member m"
                " JOIN recording r ON r.seq = m.recording WHERE m.group_seq = file_group.seq)"
                " ORDER BY seq LIMIT ?",
                (_KEPT, limit),
            ).fetchall()
            run.executemany("DELETE FROM group_member WHERE group_seq = ?", rows)
            run.executemany("DELETE FROM file_group WHERE seq = ?", rows)

    def originals(self, states: Sequence[State]) -> tuple[int, int]:
        """Return how many originals, that nobody wants now, are in *states*, and their bytes."""
        marks = ",".join("?" * len(states))
        with self._database.reading() as run:
            files, length = run.execute(
                "SELECT coalesce(sum(files), 0), coalesce(sum(bytes), 0) FROM originals"
                f" WHERE state IN ({marks})",
                (*states,),
            ).fetchone()
        return int(files), int(length)


def adopt_all(store: Recordings) -> None:
    """Have what an earlier version remembered, and has still to send, join its groups; done once.

    Raises:
        StoreError: not, or not all of it; the next start does it again.
    """
    if store.notes.get(_ADOPTED):
        return
    after = 0
    while page := store.in_states(*PENDING, after_seq=after, limit=_PAGE):
        store.groups.adopt(page)
        after = page[-1].seq
    store.notes.put(_ADOPTED, True)


def place_in(path: bytes, name: str) -> Place:
    """Return the place of the file at *path*, whose printable name is *name*."""
    return place_of(printable(path.rpartition(b"/")[0]), name)


def _group(row: Sequence[Any]) -> Group:
    return Group(*(*row[:-1], bool(row[-1])))


def _member(row: Sequence[Any]) -> GroupFile:
    number, name, folder, role, part, pattern, state, length, mtime_ns, receipt = row
    return GroupFile(
        number,
        name,
        folder,
        Role(role),
        part,
        pattern,
        None if state is None else State(state),
        length,
        _moment(mtime_ns),
        None if receipt is None else Receipt.from_json(json.loads(receipt)),
    )


def _moment(mtime_ns: int) -> str | None:
    try:
        return rfc3339(datetime.fromtimestamp(mtime_ns / 1e9, UTC))
    except (ValueError, OverflowError, OSError):
        return None  # a card's clock can say anything
