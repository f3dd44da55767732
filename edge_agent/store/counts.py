"""How many recordings there are, and of how many bytes, by their state; kept in step by the database itself."""

from __future__ import annotations

from collections.abc import Mapping

from edge_agent.core.upload import PENDING, State
from edge_agent.store.database import Database


class Counts:
    """Safe to use from several threads.

    Raises:
        StoreError: from any method, when the database cannot be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_state(self) -> dict[State, tuple[int, int]]:
        """Return files and bytes per state."""
        with self._database.reading() as run:
            rows = run.execute(
                "SELECT state, sum(files), sum(bytes) FROM tally WHERE files > 0 GROUP BY state"
            ).fetchall()
        return {State(state): (files, length) for state, files, length in rows}

    def by_folder(self) -> dict[str, dict[State, tuple[int, int]]]:
        """Return files and bytes per state, of each watched folder that has any, by its name."""
        found: dict[str, dict[State, tuple[int, int]]] = {}
        with self._database.reading() as run:
            for watch, state, files, length in run.execute(
                "SELECT watch, state, files, bytes FROM tally WHERE files > 0"
            ):
                found.setdefault(watch, {})[State(state)] = (files, length)
        return found

    def folder_names(self) -> set[str]:
        """Return the names of the watched folders that recordings are remembered of."""
        return {watch for watch, counts in self.by_folder().items() if counts}


def pending_bytes(counts: Mapping[State, tuple[int, int]]) -> int:
    """Return the bytes of all recordings that the server does not hold yet."""
    return sum(counts.get(state, (0, 0))[1] for state in PENDING)


def pending_files(counts: Mapping[State, tuple[int, int]]) -> int:
    return sum(counts.get(state, (0, 0))[0] for state in PENDING)
