"""Recordings as rules see them: a few columns of many rows."""

from __future__ import annotations

from edge_agent.core.recording import Brief
from edge_agent.core.upload import State
from edge_agent.store.database import Database

_COLUMNS = ", ".join(Brief._fields)


class Briefs:
    """Safe to use from several threads.

    Raises:
        StoreError: from any method, when the database cannot be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, *states: State, after_seq: int, limit: int) -> list[Brief]:
        """Return *limit* recordings in *states* behind *after_seq*, oldest first."""
        # The index once per state: SQLite would sort all that are in any of them.
        one = (
            f"SELECT * FROM (SELECT {_COLUMNS} FROM recording WHERE state = ? AND seq > ?"
            " ORDER BY seq LIMIT ?)"
        )
        bound = [value for state in states for value in (state, after_seq, limit)]
        with self._database.reading() as run:
            rows = run.execute(
                f"{' UNION ALL '.join([one] * len(states))} ORDER BY seq LIMIT ?", (*bound, limit)
            ).fetchall()
        return [Brief._make(row) for row in rows]
