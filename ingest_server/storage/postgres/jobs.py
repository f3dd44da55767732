"""Jobs run in transactions of one PostgreSQL database, each as if no other ran beside it.

Transactions are SERIALIZABLE: what a job reads and writes is as if no other ran beside it, in whatever replica,
as in SQLite. Where two cannot both be, PostgreSQL ends one, and it is run again here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

import psycopg

from edge_host.clock import SystemClock
from ingest_server.core.errors import Refused, StateFailed, StateUncertain
from ingest_server.storage.postgres import failures, leading, statements
from ingest_server.storage.postgres.connections import Connection, Connections
from ingest_server.storage.postgres.statements import UnbegunError
from ingest_server.storage.postgres.transaction import PostgresTransaction
from ingest_server.storage.postgres.troubles import Troubles
from ingest_server.storage.sql.writes import SqlTransaction

T = TypeVar("T")

MOST_TRIES = 40
"""Of one job that others are in the way of."""
FIRST_WAIT_S = 0.001
LONGEST_WAIT_S = 0.2
COMMITTERS = 8
"""Threads for jobs that nobody waits for in a thread of their own."""
MOST_ALONG = 64
"""Jobs that wait for a commit to go along with; then one is made for them."""
MOST_WAITING = 1024


class Jobs:
    """Runs them, over as many connections as are used at once. Safe to use from any thread."""

    def __init__(self, among: Connections) -> None:
        """*among*: the connections; closed with these."""
        self._connections = among
        self._troubles = Troubles(SystemClock().now_s)
        self._workers = ThreadPoolExecutor(COMMITTERS, thread_name_prefix="commit")
        self._along: deque[tuple[Callable[[SqlTransaction], Any], Future[Any]]] = deque()
        self._closed = threading.Event()
        self._fence: ContextVar[int | None] = ContextVar("fence", default=None)
        """The term in which this thread acts as the leader."""
        self._counts = threading.Lock()
        self._commits = self._jobs = self._dropped = 0

    def close(self) -> None:
        """End what is submitted, run what went along, and close the connections. Repeatable."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._workers.shutdown(wait=True)
        if self._along:
            with suppress(Refused):
                self._run(lambda _: None)
        self._connections.close()

    @contextmanager
    def fenced(self, term: int) -> Iterator[None]:
        """Have this thread commit only while *term* is the leader's."""
        before = self._fence.set(term)
        try:
            yield
        finally:
            self._fence.reset(before)

    @property
    def events_dropped(self) -> int:
        """Events that were too many and that somebody was to be told of, since this was opened."""
        return self._dropped

    def count_anew(self) -> None:
        with self._counts:
            self._commits = self._jobs = 0

    def counted(self) -> tuple[int, int]:
        """Return the durable commits, and the jobs in them."""
        with self._counts:
            return self._commits, self._jobs

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what is found in what any replica has committed.

        Raises:
            StateFailed: the database cannot be read; it says what the client is told.
        """
        return self._twice(lambda connection: _read(connection, sql, values))

    def run(self, job: Callable[[SqlTransaction], T]) -> T:
        """Run *job*; durable on return.

        Raises:
            Refused: it refuses, or the server is stopping.
            StateFailed: the database failed; nothing of the job is stored.
        """
        self.refuse_closed()
        return self._run(job)

    def run_briefly(self, job: Callable[[SqlTransaction], T]) -> T:
        """Run a job about who does what: a crash of the database may take it all.

        Raises:
            StateFailed: the database failed; nothing of the job is stored.
        """
        return self._until_it_passes(
            lambda connection: self._once(connection, job, is_durable=False)
        )

    def run_alone(
        self, lock: int, job: Callable[[PostgresTransaction], T], *, is_durable: bool
    ) -> T:
        """Run *job* after all others, of any replica, that were given this *lock*.

        Raises:
            StateFailed: the database failed; nothing of the job is stored.
        """
        self.refuse_closed()
        return self._until_it_passes(
            lambda connection: self._once(connection, job, is_durable=is_durable, alone=lock)
        )

    def submit(self, job: Callable[[SqlTransaction], T]) -> Future[T]:
        """Run *job* in a thread of these.

        Raises:
            Refused: the server is stopping.
        """
        self.refuse_closed()
        return self._workers.submit(copy_context().run, self._run, job)

    def submit_along(self, job: Callable[[SqlTransaction], T]) -> Future[T]:
        """Run *job* with another's commit, soon; it may be lost, and its future is cancelled then."""
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
            future.set_result(self.run_briefly(job))
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
        statements.begin(connection, is_durable=is_durable, is_alone=alone is not None)
        try:
            if alone is not None:
                transaction.rows("SELECT pg_advisory_xact_lock(?)", alone)
            leading.refuse_unless(transaction, self._fence.get())
            result = job(transaction)
            _commit(connection)
        except BaseException as error:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            if isinstance(error, psycopg.Error) and failures.is_read_only(error):
                raise UnbegunError from error  # another connection may lead to one that takes writes
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
                is_conflict = isinstance(cause, psycopg.Error) and failures.is_conflict(cause)
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
                done = self._lent(work)
            except UnbegunError:
                self._connections.forget_idle()
                done = self._lent(work)
        except (psycopg.Error, UnbegunError) as error:
            cause = error.__cause__ if isinstance(error, UnbegunError) else error
            assert isinstance(cause, psycopg.Error)  # noqa: S101 - as it is raised
            if failures.is_away(cause):
                self._troubles.note(cause)
            raise failures.failed(cause) from cause
        self._troubles.over()
        return done

    def _lent(self, work: Callable[[Connection], T]) -> T:
        with self._connections.lent() as connection:
            return work(connection)

    def refuse_closed(self) -> None:
        """Refuse what would begin something new.

        Raises:
            Refused: the server is stopping.
        """
        if self._closed.is_set():
            raise Refused("stopping", "the server is stopping", retry_after_s=5)


def _commit(connection: Connection) -> None:
    try:
        done = connection.execute("COMMIT").statusmessage
    except psycopg.Error as error:
        if failures.is_lost(error):
            detail = "the server's database ended while it stored this"
            raise StateUncertain(
                "server-busy", detail, retry_after_s=failures.BUSY_RETRY_S
            ) from error
        raise
    # A statement had failed and its job went on: PostgreSQL rolls back, and says so only here.
    if done != "COMMIT":
        raise StateFailed("storage-failed", f"the server's database answered a commit by {done}")


def _read(connection: Connection, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
    try:
        return statements.rows(connection, sql, values)
    except psycopg.Error as error:
        if failures.is_lost(error) or failures.is_read_only(error):
            raise UnbegunError from error  # what only reads may be asked again
        raise
