"""The state database as a file: opening, checking, migrating, transactions.

The only module that calls `sqlite3`. What the tables mean is `recordings`'s and `outbox`'s business.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from edge_agent.base.errors import StoreError, StoreTooNewError
from edge_agent.store.reserve import Reserve
from edge_host import sqlite_file

Connection = sqlite3.Connection

BUSY_TIMEOUT_S = 10.0
"""How long a statement waits for another process: `edge-agent status` reads for ms."""


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
    ) -> None:
        self._connection = connection
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
    ) -> Database:
        """Open or make the database at *path*; its folder must exist.

        A damaged file is moved aside and made anew. ``migrations[n]`` leads from version n to n + 1;
        an older database is copied to ``NAME.v<n>`` before the first of them runs. *reserve* is given
        up piece by piece where its disk is too full for that.

        Raises:
            StoreTooNewError: written by a newer version.
            StoreError: cannot be opened at all.
        """
        while True:
            try:
                return cls._open(path, migrations, now=now, reserve=reserve)
            except StoreError:
                if reserve is None or not reserve.write_failed() or not reserve.give_up_piece():
                    raise

    @classmethod
    def _open(
        cls, path: Path, migrations: Sequence[str], *, now: datetime, reserve: Reserve | None
    ) -> Database:
        moved: Path | None = None
        try:
            connection = _connect(path)
        except (sqlite3.Error, OSError) as error:
            if not _is_damage(error):
                msg = f"the state database {path} cannot be opened: {error}"
                raise StoreError(msg) from error
            moved = _move_aside(path, now)
            connection = _connect(path)
        try:
            sqlite_file.migrate(
                connection, path, migrations, copy="{name}.v{version}", too_new=_too_new(path)
            )
        except sqlite3.Error as error:
            connection.close()
            msg = f"the state database {path} cannot be prepared: {error}"
            raise StoreError(msg) from error
        except StoreError:
            connection.close()
            raise
        return cls(connection, moved_aside=moved, reserve=reserve)

    @classmethod
    def open_read_only(cls, path: Path, version: int) -> Database:
        """Open beside another process that may be writing; writes nothing.

        Raises:
            StoreTooNewError: it has another *version*.
            StoreError: it cannot be read.
        """
        try:
            connection = sqlite_file.connect(path, timeout_s=BUSY_TIMEOUT_S, writes=False)
        except sqlite3.Error as error:
            msg = f"the state database {path} cannot be read: {error}"
            raise StoreError(msg) from error
        try:
            found = sqlite_file.version(connection)
        except sqlite3.Error as error:
            connection.close()
            msg = f"the state database {path} cannot be read: {error}"
            raise StoreError(msg) from error
        if found != version:
            connection.close()
            msg = f"the state database {path} has version {found}, this program reads {version}"
            raise StoreTooNewError(msg)
        return cls(connection)

    def close(self) -> None:
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

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have *call* called, once and outside it, when the running transaction is on disk."""
        self._after_commit.add(call)


def _too_new(path: Path) -> Callable[[int, int], StoreTooNewError]:
    return lambda found, known: StoreTooNewError(
        f"the state database {path} was written by a newer edge-agent (version {found}, this one"
        f" knows {known}): upgrade edge-agent, or move the file aside to start anew"
    )


def _is_damage(error: Exception) -> bool:
    """Return whether the file's content is wrong, as opposed to our access to it."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError
    )


def _connect(path: Path) -> Connection:
    connection = sqlite_file.connect(path, timeout_s=BUSY_TIMEOUT_S)
    try:
        path.chmod(0o600)
        sqlite_file.make_durable(connection)
        connection.execute("PRAGMA journal_size_limit=4194304")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        connection.close()
        raise
    return connection


def _move_aside(path: Path, now: datetime) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%S}")
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
    return aside
