"""The outbox in tables: events, targets, and a delivery for each event that a target wants."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from ingest_server.core.events import Event
from ingest_server.storage.interface import (
    NOT_REACHED,
    Delivery,
    GivenUp,
    HandedOn,
    Outbox,
    Queue,
    Wants,
)
from ingest_server.storage.interface.keeping import STEP
from ingest_server.storage.sql.state import SqlState
from ingest_server.storage.sql.writes import SqlTransaction

TAKEN_AT_ONCE = 500
LISTED = 1000


class SqlOutbox(Outbox):
    """Reads and writes of the outbox."""

    def __init__(self, state: SqlState) -> None:
        self._state = state
        # By name: the planner would go through all that was ever told, for each that waits.
        by = state.dialect.by("deliveries_waiting")
        pending = f"SELECT w.seq FROM deliveries w {by} WHERE w.target = ? AND w.state = 'pending'"
        earlier = (
            f"SELECT 1 FROM deliveries o {by} WHERE o.target = w.target AND o.subject = w.subject "
            "AND o.seq < w.seq AND o.state = 'pending'"
        )
        self._is_in_turn = f"NOT EXISTS ({earlier} AND o.next_try_s > ?)"
        # The newest first, as the index has them: what is behind another is found before that one is put off.
        self._some = (
            f"SELECT w.subject, w.seq FROM deliveries w {by} WHERE w.target = ? AND w.state = 'pending' "
            f"AND {{which}} AND {{where}} {{beyond}}ORDER BY w.subject DESC, w.seq DESC LIMIT {STEP}"
        )
        self._first = f"{pending} AND NOT EXISTS ({earlier}) ORDER BY w.next_try_s, w.seq LIMIT 1"
        self._due = f"{pending} AND w.next_try_s <= ? AND {self._is_in_turn} ORDER BY w.seq"
        self._most_hopeful = (
            f"{_SELECT} WHERE d.target = ? AND d.seq IN ({pending} AND w.next_try_s <= ? AND NOT EXISTS ({earlier})) "
            "ORDER BY CASE WHEN d.tries > 0 THEN 1 ELSE 0 END + CASE WHEN e.type IN ({types}) THEN 1 ELSE 0 END, "
            "d.seq LIMIT ?"
        )
        self._given_up = (
            "SELECT name, (SELECT count(*) FROM deliveries w {by} WHERE {dead}), "
            "(SELECT error FROM deliveries w {by} WHERE {dead} ORDER BY seq DESC LIMIT 1) "
            "FROM targets ORDER BY name"
        ).format(
            by=state.dialect.by("deliveries_given_up"),
            dead="w.target = targets.name AND w.state = 'dead'",
        )

    def register(self, target: str) -> None:
        self._write(
            "INSERT INTO targets (name, taken_in) "
            f"VALUES (?, coalesce({self._state.dialect.last_event}, 0)) ON CONFLICT DO NOTHING",
            target,
        )

    def keep_only(self, targets: AbstractSet[str]) -> dict[str, int]:
        known = [name for (name,) in self._state.rows("SELECT name FROM targets")]
        removed = [name for name in known if name not in targets]
        why = "the target is not in the configuration any more"
        # The target last: cut off in between, the next start goes on with what still waits for it.
        waited = {
            name: self._in_steps(name, ("TRUE",), ("state = 'dead', error = ?", why))
            for name in removed
        }

        def job(transaction: SqlTransaction) -> None:
            for name in removed:
                transaction.write("DELETE FROM targets WHERE name = ?", name)
                waited[name] += transaction.write(
                    "UPDATE deliveries SET state = 'dead', error = ? "
                    "WHERE target = ? AND state = 'pending'",
                    why,
                    name,
                )  # what has come meanwhile

        if removed:
            self._state.run(job)
        return waited

    def take_in(self, target: str, choose: Callable[[], Wants]) -> int:
        if not self._state.rows(_NEWS + " LIMIT 1", target):
            return 0  # asked each second: no transaction for nothing
        wants = choose()

        def job(transaction: SqlTransaction) -> int:
            rows = transaction.rows(_NEWS + f" LIMIT {TAKEN_AT_ONCE}", target)
            wanted = [(seq, subject) for seq, kind, subject, device in rows if wants(kind, device)]
            for seq, subject in wanted:
                transaction.write(
                    "INSERT INTO deliveries (target, seq, subject, state, tries, next_try_s) "
                    "VALUES (?, ?, ?, 'pending', 0, 0) ON CONFLICT DO NOTHING",
                    target,
                    seq,
                    subject,
                )
            if rows:
                transaction.write(
                    "UPDATE targets SET taken_in = ? WHERE name = ?", rows[-1][0], target
                )
            return len(wanted)

        return self._state.run(job)

    def next(self, target: str) -> Delivery | None:
        row = self._state.row(
            f"{_SELECT} WHERE d.target = ? AND d.seq = ({self._first})",
            target,
            target,
        )
        return None if row is None else _delivery(row)

    def due(self, target: str, now_s: float, limit: int) -> list[Delivery]:
        rows = self._state.rows(
            f"{_SELECT} WHERE d.target = ? AND d.seq IN ({self._due} LIMIT ?) ORDER BY d.seq",
            target,
            target,
            now_s,
            now_s,
            limit,
        )
        return [_delivery(row) for row in rows]

    def most_hopeful(
        self, target: str, now_s: float, limit: int, unanswered: AbstractSet[str]
    ) -> list[Delivery]:
        types = ", ".join("?" * len(unanswered)) or "NULL"
        rows = self._state.rows(
            self._most_hopeful.replace("{types}", types),
            *(target, target, now_s, *sorted(unanswered), limit),
        )
        return [_delivery(row) for row in rows]

    def done(self, *deliveries: Delivery) -> None:
        def job(transaction: SqlTransaction) -> None:
            for delivery in deliveries:
                transaction.write(_SETTLE, *_settled(delivery, "done", 0.0, None))

        self._state.run(job)

    def later(self, delivery: Delivery, next_try_s: float, error: str) -> None:
        self._settle(delivery, "pending", next_try_s, error)

    def put_off(
        self, target: str, now_s: float, waits_s: Sequence[float], error: str, *, gives_up: bool
    ) -> tuple[int, int]:
        last = len(waits_s)
        in_turn = (self._is_in_turn, now_s)
        # First: what comes behind them is due now, and put off with the rest.
        dead = 0
        if gives_up:
            dead = self._in_steps(
                target,
                ("w.next_try_s <= ? AND w.tries >= ?", now_s, last),
                ("state = 'dead', tries = tries + 1, next_try_s = 0, error = ?", error),
                in_turn,
            )
        wait = "CASE tries " + "WHEN ? THEN ? " * last + "ELSE ? END"
        waits = [value for one in enumerate(waits_s) for value in one]
        waiting = self._in_steps(
            target,
            ("w.next_try_s <= ?", now_s),
            (
                f"next_try_s = ? + {wait}, error = ?, tries = CASE WHEN tries < ? THEN tries + 1 ELSE ? END",
                *(now_s, *waits, waits_s[-1], error, last, last),
            ),
            in_turn,
        )
        return waiting, dead

    def reached(self, target: str) -> None:
        self._in_steps(
            target,
            ("w.next_try_s > 0 AND substr(w.error, 1, ?) = ?", len(NOT_REACHED), NOT_REACHED),
            ("next_try_s = 0, tries = CASE WHEN tries > 0 THEN tries - 1 ELSE 0 END",),
        )

    def _in_steps(
        self,
        target: str,
        which: tuple[object, ...],
        change: tuple[object, ...],
        where: tuple[object, ...] = ("TRUE",),
    ) -> int:
        """Change what waits for *target*, some at a time: after a long outage it may be a million.

        Args:
            which: a condition, with its values. It has to hold as a row is changed, too.
            change: assignments, with theirs.
            where: a condition on what else waits, with its values. What is changed here may end it, so it is asked
                before.
        """
        (condition, *sought), (assignments, *changed), (elsewhere, *placed) = which, change, where
        count, beyond, place = 0, "", ()
        while True:
            found = self._state.rows(
                self._some.format(which=condition, where=elsewhere, beyond=beyond),
                *(target, *sought, *placed, *place),
            )
            if found:
                marks = ", ".join("?" * len(found))
                # Asked again: a person may have had some of it tried again since it was read.
                count += self._write(
                    f"UPDATE deliveries AS w SET {assignments} "
                    f"WHERE w.target = ? AND w.state = 'pending' AND w.seq IN ({marks}) AND {condition}",
                    *(*changed, target, *(seq for _, seq in found), *sought),
                )
            if len(found) < STEP:
                return count
            beyond, place = "AND (w.subject, w.seq) < (?, ?) ", found[-1]

    def give_up(self, delivery: Delivery, error: str) -> None:
        self._settle(delivery, "dead", 0.0, error)

    def _settle(self, delivery: Delivery, state: str, next_try_s: float, error: str | None) -> None:
        self._write(_SETTLE, *_settled(delivery, state, next_try_s, error))

    def disable(self, target: str, now: str) -> None:
        self._write("UPDATE targets SET disabled_at = ? WHERE name = ?", now, target)

    def disabled(self) -> dict[str, str]:
        return dict(
            self._state.rows("SELECT name, disabled_at FROM targets WHERE disabled_at IS NOT NULL")
        )

    def queue(self) -> Queue:
        [row] = self._state.rows(
            "SELECT count(*), min(e.time) FROM deliveries d JOIN events e ON e.seq = d.seq "
            "WHERE d.state = 'pending'"
        )
        return Queue(row[0], row[1], sum(one.count for one in self.given_up()))

    def fullest(self) -> int:
        [(count,)] = self._state.rows(
            "SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM events GROUP BY device) AS found"
        )
        return int(count)

    def dropped(self) -> int:
        return self._state.events_dropped

    def newest(self) -> int:
        [(seq,)] = self._state.rows("SELECT coalesce(max(seq), 0) FROM events")
        return int(seq)

    def counted(self, after: int, upto: int) -> dict[str, int]:
        question = "SELECT type, count(*) FROM events WHERE seq > ? AND seq <= ? GROUP BY type"
        return dict(self._state.rows(question, after, upto))

    def listing(self, state: str | None = None) -> list[Delivery]:
        rows = self._state.rows(
            f"{_SELECT} WHERE CAST(? AS TEXT) IS NULL OR d.state = ? "
            f"ORDER BY d.seq DESC, d.target LIMIT {LISTED}",
            state,
            state,
        )
        return [_delivery(row) for row in reversed(rows)]

    def of_events(self, ids: Sequence[str]) -> dict[str, HandedOn]:
        # Read first: what every target had looked at by then has all its deliveries by now.
        [(everywhere,)] = self._state.rows("SELECT min(taken_in) FROM targets")
        found: dict[str, list[Delivery]] = {}
        looked_at: dict[str, bool] = {}
        for start in range(0, len(ids), TAKEN_AT_ONCE):
            some = ids[start : start + TAKEN_AT_ONCE]
            which = ", ".join("?" * len(some))
            kept = self._state.rows(f"SELECT id, seq FROM events WHERE id IN ({which})", *some)
            found |= {event_id: [] for event_id, _ in kept}
            looked_at |= {
                event_id: everywhere is None or seq <= everywhere for event_id, seq in kept
            }
            for row in self._state.rows(
                f"{_SELECT} WHERE e.id IN ({which}) ORDER BY d.target", *some
            ):
                one = _delivery(row)
                if one.event.id in found:
                    found[one.event.id].append(one)
        return {event_id: HandedOn(those, looked_at[event_id]) for event_id, those in found.items()}

    def given_up(self) -> list[GivenUp]:
        rows = self._state.rows(self._given_up)
        return [GivenUp(name, count, error) for name, count, error in rows if count]

    def replay(self, which: str | None) -> int:
        again = (
            "UPDATE deliveries SET state = 'pending', tries = 0, next_try_s = 0 "
            "WHERE target IN (SELECT name FROM targets) AND "  # nobody tells the others
        )

        def job(transaction: SqlTransaction) -> int:
            if which is None:
                count = transaction.write(again + "state = 'dead'")
                transaction.write("UPDATE targets SET disabled_at = NULL")
                return count
            count = transaction.write(again + "seq = (SELECT seq FROM events WHERE id = ?)", which)
            count += transaction.write(again + "target = ? AND state != 'done'", which)
            enabled = transaction.write(
                "UPDATE targets SET disabled_at = NULL WHERE name = ? AND disabled_at IS NOT NULL",
                which,
            )
            return count or enabled

        return self._state.run(job)

    def _write(self, sql: str, *values: object) -> int:
        return self._state.run(lambda transaction: transaction.write(sql, *values))


_NEWS = (
    "SELECT e.seq, e.type, e.subject, e.device FROM events e "
    "WHERE e.seq > (SELECT taken_in FROM targets WHERE name = ?) ORDER BY e.seq"
)
_SETTLE = (
    "UPDATE deliveries SET state = ?, tries = ?, next_try_s = ?, error = ? "
    "WHERE target = ? AND seq = ?"
)
_SELECT = (
    "SELECT d.target, d.state, d.tries, d.next_try_s, d.error, "
    "e.seq, e.id, e.type, e.time, e.subject, e.device, e.data "
    "FROM deliveries d JOIN events e ON e.seq = d.seq"
)


def _settled(
    delivery: Delivery, state: str, next_try_s: float, error: str | None
) -> tuple[object, ...]:
    tries, seq = delivery.tries + 1, delivery.event.seq
    return state, tries, next_try_s, error, delivery.target, seq


def _delivery(row: tuple[Any, ...]) -> Delivery:
    target, state, tries, next_try_s, error, seq, event_id, kind, time, subject, device, data = row
    event = Event(seq, event_id, kind, time, subject, device, json.loads(data))
    return Delivery(target, event, state, tries, next_try_s, error)
