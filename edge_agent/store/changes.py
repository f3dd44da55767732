"""What has changed on the device since somebody was told last: a number for each change, that only rises.

Told is what a person far away would look for: a recording is there, is finished, has arrived, has failed, has
another name, is gone. How far it is sent changes nothing here. Triggers count, so that it is true in every
transaction and whoever writes; each costs a page or two in a commit that is made anyway.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from edge_agent.core.upload import State
from edge_agent.store.database import Database
from edge_agent.store.database_file import Connection
from edge_agent.store.notes import Notes

KEPT: Final = 100_000
"""Changes of the past of which it is known what is gone; who was told less is told everything anew."""

_EPOCH: Final = "holds.epoch"
_GONE = ("released", "overwritten")
_NEXT = "(SELECT 1 + max(coalesce((SELECT max(change) FROM recording), 0), coalesce((SELECT max(change) FROM gone), 0)))"


def _kind(row: str) -> str:
    """Return SQL for what of a state is told: several are one to whoever is far away."""
    return (
        f"CASE WHEN {row}.state IN ('seen', 'growing') THEN 'growing'"
        f" WHEN {row}.state IN ('stable', 'sending', 'sent') THEN 'pending'"
        f" WHEN {row}.state IN ('verified', 'kept') THEN 'held' ELSE {row}.state END"
    )


SCHEMA = f"""
ALTER TABLE recording ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
UPDATE recording SET change = seq;
CREATE INDEX recording_by_change ON recording(change);
CREATE TABLE gone (change INTEGER PRIMARY KEY, id TEXT NOT NULL) STRICT;
CREATE TRIGGER change_of_new AFTER INSERT ON recording BEGIN
  UPDATE recording SET change = {_NEXT} WHERE seq = NEW.seq;
END;
CREATE TRIGGER change_of_known AFTER UPDATE OF state, name, folder ON recording
WHEN {_kind("OLD")} != {_kind("NEW")} OR OLD.name != NEW.name OR OLD.folder != NEW.folder BEGIN
  UPDATE recording SET change = {_NEXT} WHERE seq = NEW.seq;
END;
CREATE TRIGGER change_of_forgotten AFTER DELETE ON recording BEGIN
  INSERT INTO gone VALUES (1 + max(OLD.change, {_NEXT} - 1), OLD.id);
  DELETE FROM gone WHERE change <= (SELECT max(change) FROM gone) - {KEPT};
END;
"""


@dataclass(frozen=True, slots=True)
class Change:
    """What is so since change *number*; of what is gone only its id is told."""

    number: int
    id: str
    is_gone: bool
    folder: str = ""
    name: str = ""
    length: int = 0
    mtime_ns: int = 0
    state: State = State.SEEN
    problem: str | None = None


class Changes:
    """Safe to use from several threads.

    Raises:
        StoreError: from any method, when the database cannot be read or written.
    """

    def __init__(self, database: Database, notes: Notes) -> None:
        self._database = database
        self._notes = notes

    def epoch(self) -> str:
        """Return what tells this count of changes from that of another database."""
        known = self._notes.get(_EPOCH)
        return known if isinstance(known, str) else self.begin_epoch()

    def begin_epoch(self) -> str:
        """Have whoever was told something be told everything anew."""
        epoch = secrets.token_hex(8)
        self._notes.put(_EPOCH, epoch)
        return epoch

    def latest(self) -> int:
        """Return the number of the last change; 0: there was none."""
        with self._database.reading() as run:
            (number,) = run.execute(f"SELECT {_NEXT} - 1").fetchone()
        return int(number)

    def after(self, number: int, limit: int) -> list[Change]:
        """Return what has changed after *number*, in order: each recording once, as it is now."""
        with self._database.reading() as run:
            found = _recordings(run, number, limit) + _forgotten(run, number, limit)
        return sorted(found, key=lambda one: one.number)[:limit]


def _recordings(run: Connection, number: int, limit: int) -> list[Change]:
    rows = run.execute(
        "SELECT change, id, state, folder, name, length, mtime_ns, problem FROM recording"
        " WHERE change > ? ORDER BY change LIMIT ?",
        (number, limit),
    ).fetchall()
    return [
        Change(
            number=row[0],
            id=row[1],
            is_gone=row[2] in _GONE,
            folder=row[3],
            name=row[4],
            length=row[5],
            mtime_ns=row[6],
            state=State(row[2]),
            problem=row[7],
        )
        for row in rows
    ]


def _forgotten(run: Connection, number: int, limit: int) -> list[Change]:
    rows = run.execute(
        "SELECT change, id FROM gone WHERE change > ? ORDER BY change LIMIT ?", (number, limit)
    ).fetchall()
    return [Change(number=row[0], id=row[1], is_gone=True) for row in rows]
