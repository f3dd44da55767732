"""Uploads that no recording goes on with: kept until the server has been told.

Written in the transaction that has a recording let its upload go, whyever it does. An upload that
nobody ends counts against the device on the server for two weeks.
"""

from __future__ import annotations

from edge_agent.store.database import Database
from edge_agent.store.database_file import Connection

SCHEMA = "CREATE TABLE given_up (upload_id TEXT PRIMARY KEY) STRICT;"


class GivenUp:
    """Safe to use from several threads.

    Raises:
        StoreError: from `next` and `forget`, when the database cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @staticmethod
    def add(run: Connection, upload_id: str) -> None:
        """Note *upload_id* in the caller's transaction."""
        run.execute("INSERT OR IGNORE INTO given_up VALUES (?)", (upload_id,))

    @staticmethod
    def spare(run: Connection, upload_id: str) -> None:
        """Take *upload_id* back, in the transaction that has noted it: it holds what nobody else has."""
        run.execute("DELETE FROM given_up WHERE upload_id = ?", (upload_id,))

    def next(self) -> str | None:
        """Return one of them; None: there is none."""
        with self._database.reading() as run:
            row = run.execute("SELECT upload_id FROM given_up LIMIT 1").fetchone()
        return None if row is None else str(row[0])

    def forget(self, upload_id: str) -> None:
        """The server knows; durable on return."""
        with self._database.transaction() as run:
            run.execute("DELETE FROM given_up WHERE upload_id = ?", (upload_id,))
