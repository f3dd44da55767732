"""The facts of one server in one SQLite file, usable by several processes at once.

Uploads are written by the one that holds the data folder; a command beside it reads, and writes of
tokens and events. So who may record bytes is known to that process and no row tells it.

WAL with ``synchronous=FULL``: with NORMAL a committed row may be gone after a power cut, and an
acknowledgement with it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Self, TypeVar

import structlog

from edge_host import sqlite_file
from ingest_server.core.errors import (
    Refused,
    StateError,
    StateFailed,
    StateTooNewError,
    refused_by_disk,
)
from ingest_server.core.record import UploadRecord
from ingest_server.storage.claims import Claims, OwnClaims
from ingest_server.storage.group_commit import Committer
from ingest_server.storage.interface import Claim, Sizes
from ingest_server.storage.reserve import Reserve
from ingest_server.storage.sql.access import SqlAccess
from ingest_server.storage.sql.dialect import SQLITE
from ingest_server.storage.sql.groups import SqlGroups
from ingest_server.storage.sql.outbox import SqlOutbox
from ingest_server.storage.sql.queries import SqlQueries
from ingest_server.storage.sql.users import SqlUsers
from ingest_server.storage.sql.writes import SqlTransaction
from ingest_server.storage.sqlite import write_ahead_log
from ingest_server.storage.sqlite.commit_count import CommitNotes
from ingest_server.storage.sqlite.connections import BUSY_TIMEOUT_S, Connections
from ingest_server.storage.sqlite.copies import Copies, fault_in
from ingest_server.storage.sqlite.schema import MIGRATIONS, VERSION
from ingest_server.storage.sqlite.writer import DAMAGED, SqliteWriter, damaged, translated
from upload_protocol.ranges import ByteRange

T = TypeVar("T")

log = structlog.get_logger()

GIVEN_BACK_PAGES = 512
"""In one transaction: 2 MiB, some ms."""

CHECK_S = 5.0
"""How long a start looks for damage: some GB. Each daily copy is looked at whole."""


class SqliteState(SqlQueries, OwnClaims):
    """The database of one data folder."""

    dialect = SQLITE

    def __init__(self, path: Path, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._reserve = Reserve(path.parent)
        self.copies = Copies(path)
        self._connections = Connections(path, writes=not read_only)
        self._closed = False
        self._starting = threading.Lock()
        self._committer: Committer[SqlTransaction] | None = None
        self._transaction: SqlTransaction | None = None
        self._claims = Claims()
        self.outbox = SqlOutbox(self)
        self.access = SqlAccess(self)
        self.users = SqlUsers(self)
        self.groups = SqlGroups(self)

    @classmethod
    def open(cls, path: Path, read_only: bool = False) -> Self:
        """Open *path*, made and migrated where needed (never when *read_only*).

        What a migration does is durable on return, and a copy of the older database lies beside.

        Raises:
            StateError: it cannot be opened, or a newer version wrote it.
        """
        state = cls(path, read_only)
        try:
            try:
                state._prepare()
            except (sqlite3.Error, OSError):
                if read_only or not state._reserve.give_up():
                    raise
                state._prepare()
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED:
                raise damaged(path, str(error)) from error
            raise StateError(f"cannot open the database {path}: {error}") from error
        return state

    def check(self, now_s: Callable[[], float]) -> None:
        """Read the database through, as far as a start may wait for that.

        Args:
            now_s: a clock that never goes back.

        Raises:
            StateLostError: it is damaged.
            StateError: it cannot be read.
        """
        ends_s = now_s() + CHECK_S
        try:
            with closing(self._connections.connect()) as connection:
                fault = fault_in(connection, lambda: now_s() > ends_s)
        except sqlite3.Error as error:
            raise StateError(f"cannot read the database {self.path}: {error}") from error
        if fault is not None:
            raise damaged(self.path, fault)

    @staticmethod
    def is_unbegun(path: Path) -> bool:
        """Whether there is no database at *path*, or an empty one; never true of what is damaged."""
        try:
            if path.stat().st_size == 0:
                return True
            with closing(
                sqlite_file.connect(path, timeout_s=BUSY_TIMEOUT_S, writes=False)
            ) as connection:
                return sqlite_file.version(connection) == 0
        except FileNotFoundError:
            return True
        except (sqlite3.Error, OSError):
            return False

    def _prepare(self) -> None:
        if not self.read_only:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            # SQLite gives its other files the mode of this one: no stranger reads the hashes.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
            if not self.path.stat().st_size:
                sqlite_file.let_shrink(self.path, timeout_s=BUSY_TIMEOUT_S)
        with closing(self._connections.connect()) as connection:
            _migrate(connection, self.path, self.read_only)

    def close(self) -> None:
        with self._starting:
            self._closed = True
        if self._committer is not None:
            self._committer.stop()
        self._connections.close()

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what is found in what any process has committed.

        Raises:
            StateFailed: the database cannot be read; it says what the client is told.
        """
        try:
            connection = self._connections.borrow()
            try:
                return connection.execute(sql, values).fetchall()
            finally:
                self._connections.give_back(connection)
        except sqlite3.Error as error:
            raise translated(error) from error

    def run(self, job: Callable[[SqlTransaction], T]) -> T:
        try:
            return self._writing().run(job)
        except StateFailed as failed:
            if failed.code != "storage-full":
                raise
            # Once more even where another has given it up just now: this failed before that.
            if not self._reserve.give_up():
                write_ahead_log.begin_anew(self.path)  # it is written over, which takes no room
            return self._writing().run(job)

    def keep_reserve(self) -> bool:
        return self._reserve.keep()

    def keep_copy(
        self, uptime_s: float, wall_s: float, least_free: int, wait: Callable[[float], bool]
    ) -> bool:
        if not self.copies.is_due(uptime_s, wall_s):
            return False
        try:
            with closing(self._connections.connect()) as source:
                return self.copies.make(source, uptime_s, least_free, wait)
        except (sqlite3.Error, OSError) as error:
            log.error(  # noqa: TRY400 - a sentence, not a trace
                "database.uncopied",
                path=str(self.path),
                error=f"no copy of the database was made ({error}); the earlier ones are kept, and "
                "it is tried again in an hour",
            )
            return False

    def submit(self, job: Callable[[SqlTransaction], T]) -> Future[T]:
        return self._writing().submit(job)

    def submit_along(self, job: Callable[[SqlTransaction], T]) -> Future[T]:
        return self._writing().submit_along(job)

    def _writing(self) -> Committer[SqlTransaction]:
        with self._starting:
            if self._committer is None:
                if self._closed:
                    raise Refused("stopping", "the server is stopping", retry_after_s=5)
                try:
                    connection = self._connections.connect()
                    writer = SqliteWriter(connection, self._claims, CommitNotes(self.path))
                except sqlite3.Error as error:
                    raise translated(error) from error
                self._transaction = writer.transaction
                self._committer = Committer(writer)
            return self._committer

    def begin_run(self) -> None:
        def job(transaction: SqlTransaction) -> int:
            transaction.write("UPDATE uptime SET runs = runs + 1")
            [(runs,)] = transaction.rows("SELECT runs FROM uptime")
            return int(runs)

        self._claims.begin_run(self.run(job))

    def claim(self, upload_id: str, where: ByteRange) -> tuple[Claim, UploadRecord]:
        claim, has_superseded = self._claims.take(upload_id, where)
        if has_superseded and self._committer is not None:
            self._committer.settle()  # what is being recorded there at this moment is in the row then
        try:
            return claim, self.get(upload_id)
        except Refused:
            self._claims.release(claim)
            raise

    def end_claims(self, upload_id: str) -> None:
        if self._claims.end(upload_id) and self._committer is not None:
            self._committer.settle()

    def sizes(self) -> Sizes:
        """Return what the file and its log take up.

        Raises:
            Refused: the disk or the database failed.
        """
        try:
            stored = self.path.stat().st_size
            file = self.path.with_name(f"{self.path.name}-wal")
            log_bytes = file.stat().st_size if file.exists() else 0
        except OSError as error:
            raise refused_by_disk(error) from error
        [(pages,)] = self.rows("PRAGMA freelist_count")
        [(page_bytes,)] = self.rows("PRAGMA page_size")
        return Sizes(stored, int(pages) * int(page_bytes), log_bytes)

    def cut_log(self) -> None:
        """Make the log small again.

        Raises:
            StateFailed: the database failed.
        """
        try:
            write_ahead_log.cut(self.path)
        except sqlite3.Error as error:
            raise translated(error) from error

    def held_by(self) -> list[str]:
        return write_ahead_log.holders(self.path)

    def give_back(self) -> int:
        def job(transaction: SqlTransaction) -> int:
            [(before,)] = transaction.rows("PRAGMA page_count")
            [(free,)] = transaction.rows("PRAGMA freelist_count")
            for _ in range(min(GIVEN_BACK_PAGES, free)):
                # One page each time, whatever it is told: it has a step for each, and no columns, for
                # want of which sqlite3 ends it after the first.
                transaction.rows("PRAGMA incremental_vacuum(1)")
            [(after,)] = transaction.rows("PRAGMA page_count")
            [(page_bytes,)] = transaction.rows("PRAGMA page_size")
            return int((before - after) * page_bytes)

        return self.run(job)

    @property
    def events_dropped(self) -> int:
        """Events that were too many and that somebody was to be told of, since this was opened."""
        return 0 if self._transaction is None else self._transaction.events_dropped

    def commits(self) -> tuple[int, int]:
        committer = self._committer
        return (0, 0) if committer is None else (committer.commits, committer.jobs)


def _migrate(connection: sqlite3.Connection, path: Path, read_only: bool) -> None:
    if read_only and sqlite_file.version(connection) < VERSION:
        raise StateError(f"{path} has an older format: start `ingest-server run` once")
    sqlite_file.migrate(
        connection,
        path,
        MIGRATIONS,
        copy="{name}.v{version}.backup",
        too_new=lambda found, known: StateTooNewError(
            f"{path} was written by a newer version of ingest-server (its format is {found}, "
            f"this one knows {known}): upgrade ingest-server, or restore the copy made before"
        ),
    )
