"""Connections of one process to the database's file: each lent to one reader at a time, and kept for the next."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from edge_host import sqlite_file

BUSY_TIMEOUT_S = 5.0
"""How long a write waits for another process: `ingest-server token add` holds it for ms."""


class Connections:
    """A pool and not one per thread, so that `close` reaches them all. Safe to use from any thread.

    Args:
        writes: False: the file stays as it is, byte for byte.
    """

    def __init__(self, path: Path, *, writes: bool) -> None:
        self._path = path
        self._writes = writes
        # A list: its pop and append are atomic, and a queue's locks cost more than the read.
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    def connect(self) -> sqlite3.Connection:
        """Return a new connection, the caller's own; what it commits is durable.

        Raises:
            sqlite3.Error: the file cannot be opened.
        """
        # Who may only read leaves an empty log behind; who may write carries over a log that a server which was
        # killed has left. Each where it does not.
        may_write = self._writes or not self._has_log()
        connection = sqlite_file.connect(self._path, timeout_s=BUSY_TIMEOUT_S, writes=may_write)
        try:
            if self._writes:
                sqlite_file.make_durable(connection)
            else:
                connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _has_log(self) -> bool:
        log = self._path.with_name(f"{self._path.name}-wal")
        return log.exists() and log.stat().st_size > 0

    def borrow(self) -> sqlite3.Connection:
        """Return a connection to read with, until `give_back`.

        Raises:
            sqlite3.Error: a new one was needed, and the file cannot be opened.
        """
        try:
            return self._idle.pop()
        except IndexError:
            return self.connect()

    def give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        self._idle.append(connection)
        if self._closed:  # lent while `close` ran
            self.close()

    def close(self) -> None:
        """Close those that are at rest, and from now on each one that comes back. Repeatable."""
        self._closed = True
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return
