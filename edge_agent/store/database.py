"""The state database: one connection, its transactions, and what a full disk makes of them.

How its file is opened is `database_file`; what the tables mean is `recordings`'s and `outbox`'s business.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Self

import structlog

from edge_agent.base.errors import StoreError, StoreTooNewError
from edge_agent.store import database_file
from edge_agent.store.database_file import Connection
from edge_agent.store.reserve import PIECE_BYTES, Reserve

log = structlog.get_logger()

_FIRST_BYTES = 1024 * 1024
"""Free: a database is made. Its tables are there twice at first, in its log, too."""


class Database:
    """One connection behind one lock.

    Raises:
        StoreError: from a ``with`` block, when the database cannot be read or written (disk full,
            read-only file system); nothing of that block's change is kept.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        moved_aside: Path | None = None,
        reserve: Reserve | None = None,
        to_be_at: Path | None = None,
    ) -> None:
        self._connection = connection
        self._to_be_at = to_be_at
        self._reserve = reserve
        self._lock = threading.RLock()
        self._after_commit: set[Callable[[], None]] = set()
        self.moved_aside = moved_aside
        """Where a damaged database was put when this one was opened."""

    @classmethod
    def open(
        cls,
        path: Path,
        migrations: Sequence[str],
        *,
        now: datetime,
        reserve: Reserve | None = None,
    ) -> Self:
        """Open or make the database at *path*; its folder must exist.

        A damaged file is moved aside and made anew. ``migrations[n]`` leads from version n to n + 1;
        an older database is copied to ``NAME.v<n>`` before the first of them runs. *reserve* is given
        up piece by piece where its disk is too full for that. Where that is not enough, and never was a
        database, this one is in memory until `settle` can write it down.

        Raises:
            StoreTooNewError: written by a newer version.
            StoreError: cannot be opened at all.
        """
        if (
            reserve is not None
            and not reserve.has_room_for(_FIRST_BYTES)
            and database_file.was_never(path)
            and not _makes_room(reserve)
        ):
            database_file.tell_in_memory(path, "its disk is full")
            connection = database_file.in_memory(path, migrations)
            return cls(connection, reserve=reserve, to_be_at=path)
        while True:
            try:
                connection, moved = database_file.opened(path, migrations, now)
                return cls(connection, moved_aside=moved, reserve=reserve)
            except StoreTooNewError:
                raise
            except StoreError as error:
                if reserve is None:
                    raise
                if reserve.write_failed() and reserve.give_up_piece():
                    continue
                if not database_file.was_never(path):
                    raise
                database_file.tell_in_memory(path, str(error))
                connection = database_file.in_memory(path, migrations)
                return cls(connection, reserve=reserve, to_be_at=path)

    @property
    def is_durable(self) -> bool:
        """Whether what is written survives a power cut; False: it is in memory, for want of room."""
        return self._to_be_at is None

    def settle(self) -> bool:
        """Write a database that is in memory to its disk, if there is room now; return whether it was.

        It is durable on return. Where that fails it stays as it is.
        """
        path, reserve = self._to_be_at, self._reserve
        if path is None or reserve is None:
            return False
        with self._lock:
            length = database_file.bytes_of(self._connection)
            if not reserve.has_room_for(length + PIECE_BYTES):
                return False
            settled = database_file.written_to(path, self._connection)
            if settled is None:
                return False
            before, self._connection, self._to_be_at = self._connection, settled, None
            before.close()
        log.info("state.on_disk", path=str(path))
        return True

    @classmethod
    def open_read_only(cls, path: Path, version: int) -> Database:
        """Open beside another process that may be writing; writes nothing.

        Raises:
            StoreTooNewError: it has another *version*.
            StoreError: it cannot be read.
        """
        return cls(database_file.opened_read_only(path, version))

    def close(self) -> None:
        self.settle()
        with self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give the connection to a block that reads.

        Raises:
            StoreError: from the block, when the database cannot be read.
        """
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                msg = f"the state database cannot be read: {error}"
                raise StoreError(msg) from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run the block as one transaction; on disk when the block has ended.

        Raises:
            StoreError: from the block, when the database cannot be written; nothing of it is kept.
        """
        with self._lock:
            run = self._connection
            if self._reserve is not None:
                self._reserve.before_write()
                if self._reserve.is_in_need:
                    self._shrink_log()
            try:
                run.execute("BEGIN IMMEDIATE")
                try:
                    yield run
                    run.execute("COMMIT")
                except BaseException:
                    # A full disk makes SQLite roll back by itself; a second time would hide why.
                    if run.in_transaction:
                        run.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                if self._reserve is not None:
                    self._reserve.write_failed()
                msg = f"the state database cannot be written: {error}"
                raise StoreError(msg) from error
            finally:
                calls, self._after_commit = self._after_commit, set()
            if self._reserve is not None:
                self._reserve.written()
        for call in calls:
            call()

    def _shrink_log(self) -> None:
        """Give back what the write-ahead log takes: on a full disk there is room for one transaction."""
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have *call* called, once and outside it, when the running transaction is on disk."""
        self._after_commit.add(call)


def _makes_room(reserve: Reserve) -> bool:
    """Give up as much as a new database takes; return whether that was enough."""
    reserve.write_failed()
    while not reserve.has_room_for(_FIRST_BYTES):
        if not reserve.give_up_piece():
            return False
    return True
