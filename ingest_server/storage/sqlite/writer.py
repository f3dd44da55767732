"""The one connection that writes, and what its errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ingest_server.core.errors import StateFailed, StateLostError
from ingest_server.storage.claims import Claims
from ingest_server.storage.sql.writes import SqlTransaction
from ingest_server.storage.sqlite.commit_count import CommitNotes
from ingest_server.storage.sqlite.writes import SqliteTransaction

_FULL = {sqlite3.SQLITE_FULL}
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class SqliteWriter:
    """The committer's connection: one transaction at a time, a savepoint for each job."""

    def __init__(self, connection: sqlite3.Connection, claims: Claims, notes: CommitNotes) -> None:
        self._connection = connection
        self._notes = notes
        self._changes_before = 0
        self.transaction = SqliteTransaction(connection, claims)

    def begin(self) -> None:
        self._run("BEGIN IMMEDIATE")
        self._changes_before = self._connection.total_changes

    def commit(self) -> None:
        """Make every job since `begin` durable, or raise `StateFailed` and none of them."""
        if self._connection.total_changes == self._changes_before:  # it costs no sync
            self._run("COMMIT")
            return
        self._run("UPDATE commits SET number = number + 1")
        [(number,)] = self._run("SELECT number FROM commits").fetchall()
        self._run("COMMIT")
        self._notes.note(int(number))

    def rollback(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    @contextmanager
    def savepoint(self, *, is_only: bool = False) -> Iterator[SqlTransaction]:
        """Undo what the body wrote when it raises; what came before it stays.

        Args:
            is_only: there is no other job: the whole transaction ends with it, and no savepoint is needed.

        Raises:
            StateFailed: the database failed; more than this may be undone.
        """
        if not is_only:
            self._run("SAVEPOINT job")
        try:
            yield self.transaction
        except BaseException as error:
            if is_only:
                self.rollback()
            else:
                # A full disk may have rolled back everything, the savepoint with it: then this raises.
                self._run("ROLLBACK TO job")
                self._run("RELEASE job")
            if isinstance(error, sqlite3.Error):
                raise translated(error) from error
            raise
        if not is_only:
            self._run("RELEASE job")

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def close(self) -> None:
        self._connection.close()
        self._notes.close()

    def _run(self, statement: str) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement)
        except sqlite3.Error as error:
            raise translated(error) from error


def damaged(path: Path, fault: str) -> StateLostError:
    """Return what an operator is told of a damaged database."""
    return StateLostError(
        f"The database {path} is damaged ({fault}). Nothing was thrown away. To go on from a "
        "copy of it, run: ingest-server restore"
    )


def translated(error: sqlite3.Error) -> StateFailed:
    """Return what a client is told about *error*."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _FULL:
        return StateFailed(
            "storage-full",
            "the server's disk is full, and its database cannot grow: nothing was changed. Make room "
            "there, and try it again",
            retry_after_s=60,
        )
    if code in _BUSY:
        return StateFailed("server-busy", "the server's database is busy", retry_after_s=5)
    return StateFailed("storage-failed", f"the server's database failed ({error})")
