"""Where the files of groups lie and lay: what rules about whole groups ask."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.store.database import Database


class GroupPlaces:
    """Safe to use from several threads.

    Raises:
        StoreError: from any method, when the database cannot be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def groups_of(self, recordings: Sequence[int]) -> dict[int, int]:
        """Return number of a recording -> number of its group, of those that have one; a few hundred at once."""
        marks = ",".join("?" * len(recordings))
        with self._database.reading() as run:
            rows = run.execute(
                "SELECT recording, group_seq FROM group_member"
                f" WHERE recording IN ({marks}) AND group_seq IS NOT NULL",
                tuple(recordings),
            ).fetchall()
        return dict(rows)

    def places(self, group: int, limit: int) -> list[tuple[str, str]]:
        """Return folder and name of *limit* files of a group, also of those that are sent and gone."""
        with self._database.reading() as run:
            return run.execute(
                "SELECT folder, name FROM group_member WHERE group_seq = ? LIMIT ?", (group, limit)
            ).fetchall()

    def title(self, group: int) -> str:
        """Return a group's name for people; empty: it is forgotten."""
        with self._database.reading() as run:
            row = run.execute("SELECT title FROM file_group WHERE seq = ?", (group,)).fetchone()
        return "" if row is None else str(row[0])
