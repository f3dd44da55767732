"""The state database as a file: opening, checking, migrating, transactions.

The only module that calls `sqlite3`. What the tables mean is `recordings`'s and `outbox`'s business.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Self

import structlog

from edge_agent.base.errors import StoreError, StoreTooNewError
from edge_agent.store.reserve import PIECE_BYTES, Reserve
from edge_host import sqlite_file

log = structlog.get_logger()

Connection = sqlite3.Connection

_FIRST_BYTES = 1024 * 1024
"""Free: a database is made. Its tables are there twice at first, in its log, too."""
_PAGES_IN_MEMORY = 4096
"""16 MiB: tens of thousands of recordings; what is more waits."""
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
        up piece by piece where its disk is too full for that. Where there is none, and never was a
        database, this one is in memory until `settle` finds room.

        Raises:
            StoreTooNewError: written by a newer version.
            StoreError: cannot be opened at all.
        """
        if reserve is not None and not reserve.has_room_for(_FIRST_BYTES) and _was_never(path):
            _tell_in_memory(path, "its disk is full")
            reserve.write_failed()
            return cls._open_in_memory(path, migrations, reserve)
        while True:
            try:
                return cls._open(path, migrations, now=now, reserve=reserve)
            except StoreError:
                if reserve is None or not reserve.write_failed() or not reserve.give_up_piece():
                    raise

    @classmethod
    def _open(
        cls, path: Path, migrations: Sequence[str], *, now: datetime, reserve: Reserve | None
    ) -> Self:
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
    def _open_in_memory(
        cls, path: Path, migrations: Sequence[str], reserve: Reserve | None
    ) -> Self:
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA max_page_count = {_PAGES_IN_MEMORY}")
        sqlite_file.migrate(
            connection, path, migrations, copy="{name}.v{version}", too_new=_too_new(path)
        )
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
            length = _bytes_of(self._connection)
            if not reserve.has_room_for(length + PIECE_BYTES):
                return False
            try:
                with closing(sqlite3.connect(path)) as target:
                    self._connection.backup(target)
                settled = _connect(path)
                _sync(path.parent)
            except (sqlite3.Error, OSError) as error:
                _forget_file(path)
                _tell_in_memory(path, str(error))
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


def _was_never(path: Path) -> bool:
    """Return whether there is no database at *path*; what a try that failed for want of room has left is none."""
    try:
        with closing(sqlite_file.connect(path, timeout_s=BUSY_TIMEOUT_S, writes=False)) as found:
            if sqlite_file.version(found):
                return False
    except sqlite3.OperationalError:
        if path.exists() and path.stat().st_size:
            return False  # what it holds cannot be told
    except sqlite3.Error:
        return False
    _forget_file(path)
    return True


def _tell_in_memory(path: Path, why: str) -> None:
    log.error(
        "state.in_memory",
        path=str(path),
        error=why,
        action="recordings are sent, and none is deleted: make room on that disk, and the agent writes down"
        " what it knows; a restart before that asks the server anew",
    )


def _bytes_of(connection: Connection) -> int:
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    return int(pages * connection.execute("PRAGMA page_size").fetchone()[0])


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _forget_file(path: Path) -> None:
    """Take away what was begun of a database, so that nobody takes it for one that was emptied."""
    for suffix in ("-wal", "-shm", "-journal", ""):
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink()


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
