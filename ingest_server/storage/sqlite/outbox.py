"""Events on their way out: what is still to be told, to whom, and how often it was tried.

Each target takes events in from where it left off and has a row for each that it wants. Waits count
in the server's uptime, not by a wall clock that may be wrong.
"""

from __future__ import annotations

import json
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from ingest_server.core.events import Event
from ingest_server.storage.sqlite.transactions import SqliteState

TAKEN_AT_ONCE = 500
LISTED = 1000


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one target."""

    target: str
    event: Event
    state: str
    """``pending``, ``done``, or ``dead``: given up, until somebody replays it."""
    tries: int
    next_try_s: float
    error: str | None


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits to be told."""

    length: int = 0
    oldest: str | None = None
    """When the oldest of it happened (RFC 3339)."""


class Outbox:
    """Reads and writes; each method is one transaction, durable on return."""

    def __init__(self, state: SqliteState) -> None:
        self._state = state

    def register(self, target: str) -> None:
        """Let *target* hear of what happens from now on, unless it is known already."""
        with self._state.writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO targets (name, taken_in) "
                "SELECT ?, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)",
                (target,),
            )

    def keep_only(self, targets: AbstractSet[str]) -> dict[str, int]:
        """Forget every other target; what waits for one becomes dead letters.

        Returns:
            The targets that were forgotten, and how much waited for each.
        """
        with self._state.writing() as connection:
            known = [name for (name,) in connection.execute("SELECT name FROM targets")]
            removed = [name for name in known if name not in targets]
            for name in removed:
                connection.execute("DELETE FROM targets WHERE name = ?", (name,))
            return {
                name: connection.execute(
                    "UPDATE deliveries SET state = 'dead', error = ? "
                    "WHERE target = ? AND state = 'pending'",
                    ("the target is not in the configuration any more", name),
                ).rowcount
                for name in removed
            }

    def take_in(self, target: str, types: AbstractSet[str]) -> int:
        """Queue what happened since the last time and is of these *types*; returns how much."""
        with self._state.reading() as queries:
            if not queries._connection.execute(_NEWS + " LIMIT 1", (target,)).fetchone():
                return 0
        with self._state.writing() as connection:
            rows = connection.execute(_NEWS + f" LIMIT {TAKEN_AT_ONCE}", (target,)).fetchall()
            wanted = [(target, seq, subject) for seq, kind, subject in rows if kind in types]
            connection.executemany(
                "INSERT OR IGNORE INTO deliveries (target, seq, subject, state, tries, next_try_s)"
                " VALUES (?, ?, ?, 'pending', 0, 0)",
                wanted,
            )
            if rows:
                connection.execute(
                    "UPDATE targets SET taken_in = ? WHERE name = ?", (rows[-1][0], target)
                )
            return len(wanted)

    def next(self, target: str) -> Delivery | None:
        """Return what is to be tried first; it may be due later.

        Only the oldest event of each upload is a candidate: those of one upload arrive in order,
        and an upload whose event cannot be told holds up no other.
        """
        with self._state.reading() as queries:
            row = queries._connection.execute(
                f"{_SELECT} WHERE d.target = ? AND d.state = 'pending' AND NOT EXISTS ("
                "SELECT 1 FROM deliveries o WHERE o.target = d.target AND o.subject = d.subject "
                "AND o.seq < d.seq AND o.state = 'pending') "
                "ORDER BY d.next_try_s, d.seq LIMIT 1",
                (target,),
            ).fetchone()
        return None if row is None else _delivery(row)

    def done(self, delivery: Delivery) -> None:
        self._settle(delivery, "done", 0.0, None)

    def later(self, delivery: Delivery, next_try_s: float, error: str) -> None:
        """Try again at uptime *next_try_s*."""
        self._settle(delivery, "pending", next_try_s, error)

    def give_up(self, delivery: Delivery, error: str) -> None:
        """Make it a dead letter: it is kept, and tried again only when somebody says so."""
        self._settle(delivery, "dead", 0.0, error)

    def _settle(self, delivery: Delivery, state: str, next_try_s: float, error: str | None) -> None:
        with self._state.writing() as connection:
            connection.execute(
                "UPDATE deliveries SET state = ?, tries = ?, next_try_s = ?, error = ? "
                "WHERE target = ? AND seq = ?",
                (state, delivery.tries + 1, next_try_s, error, delivery.target, delivery.event.seq),
            )

    def disable(self, target: str, now: str) -> None:
        """Tell *target* nothing any more; what happens meanwhile is kept for it."""
        with self._state.writing() as connection:
            connection.execute("UPDATE targets SET disabled_at = ? WHERE name = ?", (now, target))

    def disabled(self) -> dict[str, str]:
        """Return the targets that are told nothing, and since when."""
        with self._state.reading() as queries:
            return dict(
                queries._connection.execute(
                    "SELECT name, disabled_at FROM targets WHERE disabled_at IS NOT NULL"
                ).fetchall()
            )

    def queue(self) -> Queue:
        """Return how much waits; cheap enough to be asked each few seconds."""
        with self._state.reading() as queries:
            row = queries._connection.execute(
                "SELECT count(*), min(e.time) FROM deliveries d JOIN events e ON e.seq = d.seq "
                "WHERE d.state = 'pending'"
            ).fetchone()
        return Queue(*row)

    def listing(self, state: str | None = None) -> list[Delivery]:
        """Return the newest deliveries, oldest of them first."""
        with self._state.reading() as queries:
            rows = queries._connection.execute(
                f"{_SELECT} WHERE ? IS NULL OR d.state = ? "
                f"ORDER BY d.seq DESC, d.target LIMIT {LISTED}",
                (state, state),
            ).fetchall()
        return [_delivery(row) for row in reversed(rows)]

    def replay(self, which: str | None) -> int:
        """Try again, at once: the event of that id, all of a target, or all dead letters (None).

        A target that was disabled is told again from here on.

        Returns:
            How many deliveries wait now for that; where none does, whether a target is told again.
        """
        again = (
            "UPDATE deliveries SET state = 'pending', tries = 0, next_try_s = 0 "
            "WHERE target IN (SELECT name FROM targets) AND "  # nobody tells the others
        )
        with self._state.writing() as connection:
            if which is None:
                count = connection.execute(again + "state = 'dead'").rowcount
                connection.execute("UPDATE targets SET disabled_at = NULL")
                return count
            count = connection.execute(
                again + "seq = (SELECT seq FROM events WHERE id = ?)", (which,)
            ).rowcount
            count += connection.execute(again + "target = ? AND state != 'done'", (which,)).rowcount
            enabled = connection.execute(
                "UPDATE targets SET disabled_at = NULL WHERE name = ? AND disabled_at IS NOT NULL",
                (which,),
            ).rowcount
            return count or enabled


_NEWS = (
    "SELECT e.seq, e.type, e.subject FROM events e "
    "WHERE e.seq > (SELECT taken_in FROM targets WHERE name = ?) ORDER BY e.seq"
)
_SELECT = (
    "SELECT d.target, d.state, d.tries, d.next_try_s, d.error, "
    "e.seq, e.id, e.type, e.time, e.subject, e.device, e.data "
    "FROM deliveries d JOIN events e ON e.seq = d.seq"
)


def _delivery(row: tuple[Any, ...]) -> Delivery:
    target, state, tries, next_try_s, error, seq, event_id, kind, time, subject, device, data = row
    event = Event(seq, event_id, kind, time, subject, device, json.loads(data))
    return Delivery(target, event, state, tries, next_try_s, error)
