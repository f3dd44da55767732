"""What the device holds, looked through for somebody far away: by name and by time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.core.upload import State
from edge_agent.store.database import Database

_PAGE = 2000
_EARLIEST_NS, _LATEST_NS = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Holding:
    """One recording, as far as it is told of or asked for."""

    seq: int
    id: str
    folder: str
    name: str
    length: int
    mtime_ns: int
    state: State


class Holdings:
    """Safe to use from several threads.

    Raises:
        StoreError: from any method, when the database cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def between(
        self, states: Sequence[State], since_ns: int | None, until_ns: int | None
    ) -> Iterator[Holding]:
        """Yield recordings in *states* whose files were written last in ``[since, until)``, oldest first.

        A page at a time: who writes meanwhile does not wait for all of it.
        """
        marks = ",".join("?" * len(states))
        since = _EARLIEST_NS if since_ns is None else _stored(since_ns)
        until = _LATEST_NS if until_ns is None else _stored(until_ns)
        after = 0
        while True:
            with self._database.reading() as run:
                rows = run.execute(
                    "SELECT seq, id, folder, name, length, mtime_ns, state FROM recording"
                    f" WHERE seq > ? AND mtime_ns >= ? AND mtime_ns < ? AND +state IN ({marks})"
                    " ORDER BY seq LIMIT ?",
                    (after, since, until, *states, _PAGE),
                ).fetchall()
            for row in rows:
                yield _held(row)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def standing(self, ids: Sequence[str]) -> list[Holding]:
        """Return what is remembered of *ids*; what is forgotten is left out."""
        found: list[Holding] = []
        for at in range(0, len(ids), _PAGE // 4):
            page = ids[at : at + _PAGE // 4]
            marks = ",".join("?" * len(page))
            with self._database.reading() as run:
                rows = run.execute(
                    "SELECT seq, id, folder, name, length, mtime_ns, state FROM recording"
                    f" WHERE id IN ({marks})",
                    page,
                ).fetchall()
            found += [_held(row) for row in rows]
        return found

    def want_now(self, ids: Sequence[str], priority: int) -> None:
        """Give *ids* their priority on a person's word, in one transaction; a higher one stays."""
        with self._database.transaction() as run:
            run.executemany(
                "UPDATE recording SET priority = ?, is_chosen = 1 WHERE id = ? AND priority < ?",
                [(priority, one, priority) for one in ids],
            )


def _stored(moment_ns: int) -> int:
    """Return *moment_ns*, or the nearest moment that a column holds: 1677 to 2262."""
    return max(_EARLIEST_NS, min(moment_ns, _LATEST_NS))


def _held(row: Sequence[Any]) -> Holding:
    seq, recording_id, folder, name, length, mtime_ns, state = row
    return Holding(seq, recording_id, folder, name, length, mtime_ns, State(state))
