"""The facts of all replicas of one server in one PostgreSQL database.

Transactions are SERIALIZABLE: what a job reads and writes is as if no other ran beside it, in whatever replica,
as in SQLite. Where two cannot both be, PostgreSQL ends one, and it is run again here.

Who may record bytes stands in rows (`writers`), which a crash of the database empties: it ends the right of
every writer, and takes nothing that was acknowledged.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

import psycopg

from ingest_server.core.errors import (
    Refused,
    StateError,
    StateFailed,
    StateTooNewError,
    StateUncertain,
)
from ingest_server.core.record import UploadRecord, not_found
from ingest_server.storage.interface import Claim, Lease, Sizes, StateStore
from ingest_server.storage.postgres import connections, leading, leases
from ingest_server.storage.postgres.connections import Connection, Connections, UnbegunError
from ingest_server.storage.postgres.fleet import PostgresFleet
from ingest_server.storage.postgres.schema import MIGRATIONS, VERSION
from ingest_server.storage.postgres.text import without_password
from ingest_server.storage.sql.access import SqlAccess
from ingest_server.storage.sql.dialect import POSTGRES
from ingest_server.storage.sql.groups import SqlGroups
from ingest_server.storage.sql.outbox import SqlOutbox
from ingest_server.storage.sql.queries import SqlQueries
from ingest_server.storage.sql.users import SqlUsers
from ingest_server.storage.sql.writes import SqlTransaction
from upload_protocol.ranges import ByteRange

T = TypeVar("T")

EPOCHS_PER_RUN = 2**40
"""More than a run can make: a thousand each second for thirty years."""
MOST_TRIES = 40
"""Of one job that others are in the way of."""
FIRST_WAIT_S = 0.001
LONGEST_WAIT_S = 0.2
COMMITTERS = 8
"""Threads for jobs that nobody waits for in a thread of their own."""
MOST_ALONG = 64
"""Jobs that wait for a commit to go along with; then one is made for them."""
MOST_WAITING = 1024
MIGRATION_S = 600.0
"""Of one step of bringing tables up to date: an index over millions of rows takes its time."""

_EVENTS_LOCK = 0x65766E74
_SCHEMA_LOCK = 0x7363686D
_LEAD_LOCK = 0x6C656164


class PostgresState(SqlQueries, StateStore):
    """One database, shared by any number of replicas."""

    dialect = POSTGRES
    is_shared = True
    is_elsewhere = True

    def __init__(self, url: str) -> None:
        self.url = url
        self._connections = Connections(url)
        self._workers = ThreadPoolExecutor(COMMITTERS, thread_name_prefix="commit")
        self._along: deque[tuple[Callable[[SqlTransaction], Any], Future[Any]]] = deque()
        self._closed = threading.Event()
        self._fence: ContextVar[int | None] = ContextVar("fence", default=None)
        """The term in which this thread acts as the leader."""
        self._counts = threading.Lock()
        self._commits = self._jobs = self._dropped = 0
        self.outbox = SqlOutbox(self)
        self.access = SqlAccess(self)
        self.users = SqlUsers(self)
        self.groups = SqlGroups(self)

    @classmethod
    def open(cls, url: str) -> PostgresState:
        """Open the database at *url*, its tables made and brought up to date.

        Raises:
            StateError: it cannot be used, or a newer version has made its tables.
        """
        state = cls(url)
        try:
            with state._connections.lent() as connection:
                make_tables(connection, without_password(url))
            state._begin_epochs_where_none_are()
            state._commits = state._jobs = 0
        except psycopg.Error as error:
            state.close()
            raise connections.unusable(error, without_password(url)) from error
        except StateError:
            state.close()
            raise
        return state

    def lead(self, name: str, for_s: float) -> int | None:
        return self.run_alone(
            _LEAD_LOCK, lambda found: leading.lead(found, name, for_s), is_durable=True
        )

    def resign(self, name: str) -> None:
        self.run_alone(_LEAD_LOCK, lambda found: leading.resign(found, name), is_durable=True)

    @contextmanager
    def fenced(self, term: int) -> Iterator[None]:
        before = self._fence.set(term)
        try:
            yield
        finally:
            self._fence.reset(before)

    def fleet(self, *, closes: bool = False) -> PostgresFleet:
        return PostgresFleet(self, closes=closes)

    def tie_folder(self, folder_id: str) -> str:
        def job(transaction: SqlTransaction) -> str:
            transaction.write(
                "INSERT INTO folder (only_row, id) VALUES (1, ?) ON CONFLICT DO NOTHING", folder_id
            )
            [(tied,)] = transaction.rows("SELECT id FROM folder")
            return str(tied)

        return self.run(job)

    @staticmethod
    def is_unbegun(url: str) -> bool:
        """Whether the database at *url* has no tables of ours.

        Raises:
            StateError: it cannot be used.
        """
        state = PostgresState(url)
        try:
            with state._connections.lent() as connection:
                found = connection.execute("SELECT to_regclass('schema_version')").fetchone()
        except psycopg.Error as error:
            raise connections.unusable(error, without_password(url)) from error
        finally:
            state.close()
        return found is None or found[0] is None

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        self._workers.shutdown(wait=True)
        if self._along:
            with suppress(Refused):
                self._run(lambda _: None)
        self._connections.close()

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what is found in what any replica has committed.

        Raises:
            StateFailed: the database cannot be read; it says what the client is told.
        """
        return self._twice(lambda connection: _read(connection, sql, values))

    def run(self, job: Callable[[SqlTransaction], T]) -> T:
        self._refuse_closed()
        return self._run(job)

    def run_alone(
        self, lock: int, job: Callable[[PostgresTransaction], T], *, is_durable: bool
    ) -> T:
        """Run *job* after all others, of any replica, that were given this *lock*.

        Raises:
            StateFailed: the database failed; nothing of the job is stored.
        """
        self._refuse_closed()
        return self._until_it_passes(
            lambda connection: self._once(connection, job, is_durable=is_durable, alone=lock)
        )

    def submit(self, job: Callable[[SqlTransaction], T]) -> Future[T]:
        self._refuse_closed()
        return self._workers.submit(copy_context().run, self._run, job)

    def submit_along(self, job: Callable[[SqlTransaction], T]) -> Future[T]:
        future: Future[T] = Future()
        if self._closed.is_set():
            future.cancel()
            return future
        self._along.append((job, future))
        if len(self._along) == MOST_ALONG:
            self.submit(lambda _: None)
        with suppress(IndexError):
            while len(self._along) > MOST_WAITING:  # the database is away: the oldest are lost
                self._along.popleft()[1].cancel()
        return future

    def _run(self, job: Callable[[SqlTransaction], T]) -> T:
        result = self._until_it_passes(lambda connection: self._once(connection, job))
        with suppress(IndexError):  # another thread may take the last one
            while self._along:
                self._run_along(*self._along.popleft())
        return result

    def _run_along(self, job: Callable[[SqlTransaction], Any], future: Future[Any]) -> None:
        """Run what may be lost; it waits for no disk."""
        try:
            future.set_result(
                self._until_it_passes(
                    lambda connection: self._once(connection, job, is_durable=False)
                )
            )
        except Exception as error:  # noqa: BLE001 - handed to whoever asks
            future.set_exception(error)

    def _once(
        self,
        connection: Connection,
        job: Callable[[PostgresTransaction], T],
        *,
        is_durable: bool = True,
        alone: int | None = None,
    ) -> T:
        transaction = PostgresTransaction(connection)
        connections.begin(connection, is_durable=is_durable, is_alone=alone is not None)
        try:
            if alone is not None:
                transaction.rows("SELECT pg_advisory_xact_lock(?)", alone)
            leading.refuse_unless(transaction, self._fence.get())
            result = job(transaction)
            _commit(connection)
        except BaseException:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            raise
        with self._counts:
            self._commits += is_durable
            self._jobs += is_durable
            self._dropped += transaction.events_dropped
        return result

    def _until_it_passes(self, work: Callable[[Connection], T]) -> T:
        """Run *work* again while others are in its way.

        Raises:
            StateFailed: they are for too long, or the database failed.
        """
        wait_s = FIRST_WAIT_S
        for tries_left in range(MOST_TRIES, 0, -1):
            try:
                return self._twice(work)
            except StateFailed as refused:
                cause = refused.__cause__
                is_conflict = isinstance(cause, psycopg.Error) and connections.is_conflict(cause)
                if not is_conflict or tries_left == 1:
                    raise
            # Not by chance: whoever asks at once has the next turn sooner or later.
            self._closed.wait(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        raise AssertionError

    def _twice(self, work: Callable[[Connection], T]) -> T:
        """Run *work*, over a new connection where the one at hand was gone before it began."""
        try:
            try:
                with self._connections.lent() as connection:
                    return work(connection)
            except UnbegunError:
                self._connections.forget_idle()
                with self._connections.lent() as connection:
                    return work(connection)
        except UnbegunError as unbegun:
            cause = unbegun.__cause__
            assert isinstance(cause, psycopg.Error)  # noqa: S101 - as it is raised
            raise connections.failed(cause) from cause
        except psycopg.Error as error:
            raise connections.failed(error) from error

    def _refuse_closed(self) -> None:
        if self._closed.is_set():
            raise Refused("stopping", "the server is stopping", retry_after_s=5)

    def _begin_epochs_where_none_are(self) -> None:
        if not self.rows("SELECT 1 FROM epochs_begun"):
            self.begin_run()

    def begin_run(self) -> None:
        def job(transaction: SqlTransaction) -> None:
            _begin_epochs(transaction)
            transaction.write("INSERT INTO epochs_begun VALUES (1) ON CONFLICT DO NOTHING")

        self.run(job)

    def claim(self, upload_id: str, where: ByteRange) -> tuple[Claim, UploadRecord]:
        self._refuse_closed()
        self._begin_epochs_where_none_are()  # the database may have crashed since

        def job(transaction: SqlTransaction) -> tuple[Claim, UploadRecord]:
            if not transaction.rows("SELECT 1 FROM epochs_begun"):
                detail = "the server's database has just been started anew"
                raise StateFailed("server-busy", detail, retry_after_s=1)
            record = transaction.find(upload_id)
            if record is None:
                raise not_found()
            transaction.write(
                "DELETE FROM writers WHERE upload_id = ? AND start < ? AND stop > ?",
                upload_id,
                where.stop,
                where.start,
            )
            [(epoch,)] = transaction.rows(
                "INSERT INTO writers (epoch, upload_id, start, stop) "
                "VALUES (nextval('writer_epochs'), ?, ?, ?) RETURNING epoch",
                upload_id,
                where.start,
                where.stop,
            )
            return Claim(upload_id, where, epoch), record

        return self._briefly(job)

    def end_claims(self, upload_id: str) -> None:
        def job(transaction: SqlTransaction) -> None:
            # Read, too: who is recording in another replica at this moment is run again, or this is.
            transaction.rows("SELECT received FROM uploads WHERE id = ?", upload_id)
            transaction.write("DELETE FROM writers WHERE upload_id = ?", upload_id)

        self._briefly(job)

    def release(self, claim: Claim) -> None:
        def job(transaction: SqlTransaction) -> None:
            transaction.write("DELETE FROM writers WHERE epoch = ?", claim.epoch)

        with suppress(Refused):
            self._briefly(job)

    def take_lease(self, name: str, for_s: float) -> Lease | None:
        lease = Lease(name, secrets.token_hex(8))
        is_taken = self._briefly(lambda transaction: leases.take(transaction, lease, for_s))
        return lease if is_taken else None

    def keep_lease(self, lease: Lease, for_s: float) -> bool:
        return self._briefly(lambda transaction: leases.keep(transaction, lease, for_s))

    def end_lease(self, lease: Lease) -> None:
        with suppress(Refused):
            self._briefly(lambda transaction: leases.end(transaction, lease))

    def _briefly(self, job: Callable[[SqlTransaction], T]) -> T:
        """Run a job about who does what: a crash of the database may take it all."""
        return self._until_it_passes(
            lambda connection: self._once(connection, job, is_durable=False)
        )

    def keep_reserve(self) -> bool:
        return False

    def sizes(self) -> Sizes:
        [(stored,)] = self.rows("SELECT pg_database_size(current_database())")
        return Sizes(int(stored))

    def cut_log(self) -> None:
        """PostgreSQL looks after its log itself."""

    def held_by(self) -> list[str]:
        return []

    def give_back(self) -> int:
        return 0

    @property
    def events_dropped(self) -> int:
        """Events that were too many and that somebody was to be told of, since this was opened."""
        return self._dropped

    def commits(self) -> tuple[int, int]:
        with self._counts:
            return self._commits, self._jobs


class PostgresTransaction(SqlTransaction):
    """One job's reads and writes."""

    dialect = POSTGRES

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self._is_in_line = False

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return connections.rows(self._connection, sql, values)

    def write(self, sql: str, *values: object) -> int:
        return connections.write(self._connection, sql, values)

    def write_each(self, sql: str, values: Iterable[Sequence[object]]) -> None:
        connections.write_each(self._connection, sql, values)

    def is_standing(self, claim: Claim) -> bool:
        # Whoever takes the range over deletes this row: one of the two is run again, then, and sees the other.
        return bool(self.rows("SELECT 1 FROM writers WHERE epoch = ?", claim.epoch))

    def is_leased(self, lease: Lease) -> bool:
        return leases.is_held(self, lease)

    def in_line(self) -> None:
        # Else a number could become visible after a greater one that a target has been told of already.
        if not self._is_in_line:
            self.rows("SELECT pg_advisory_xact_lock(?)", _EVENTS_LOCK)
            self._is_in_line = True

    def set_uptime(self, seconds: float) -> None:
        self.write("UPDATE uptime SET seconds = greatest(seconds, ?)", seconds)


def _commit(connection: Connection) -> None:
    try:
        done = connection.execute("COMMIT").statusmessage
    except psycopg.Error as error:
        if connections.is_lost(error):
            detail = "the server's database ended while it stored this"
            raise StateUncertain(
                "server-busy", detail, retry_after_s=connections.BUSY_RETRY_S
            ) from error
        raise
    # A statement had failed and its job went on: PostgreSQL rolls back, and says so only here.
    if done != "COMMIT":
        raise StateFailed("storage-failed", f"the server's database answered a commit by {done}")


def _read(connection: Connection, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
    try:
        return connections.rows(connection, sql, values)
    except psycopg.Error as error:
        if connections.is_lost(error):
            raise UnbegunError from error  # what only reads may be asked again
        raise


def _begin_epochs(transaction: SqlTransaction) -> None:
    """Let every epoch from here on be newer than all before; durable with the transaction."""
    transaction.write("UPDATE uptime SET runs = runs + 1")
    [(runs,)] = transaction.rows("SELECT runs FROM uptime")
    transaction.rows("SELECT setval('writer_epochs', ?)", int(runs) * EPOCHS_PER_RUN)


def make_tables(connection: Connection, where: str) -> None:
    """Make the tables, or bring those of an older version up to date.

    Raises:
        StateTooNewError: a newer version has made them.
    """
    connection.patience_s = MIGRATION_S
    with connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = '{MIGRATION_S:.0f}s'".encode())
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (only_row BIGINT PRIMARY KEY CHECK "
            "(only_row = 1), version BIGINT NOT NULL)"
        )
        row = connection.execute("SELECT version FROM schema_version").fetchone()
        found = 0 if row is None else int(row[0])
        if found > VERSION:
            raise StateTooNewError(
                f"{where} was written by a newer version of ingest-server (its format is {found}, this "
                f"one knows {VERSION}): upgrade ingest-server"
            )
        for script in MIGRATIONS[found:]:
            connection.execute(script)
        connection.execute(
            "INSERT INTO schema_version VALUES (1, %s) ON CONFLICT (only_row) "
            "DO UPDATE SET version = excluded.version",
            (VERSION,),
        )
    connection.patience_s = connections.ANSWER_S
