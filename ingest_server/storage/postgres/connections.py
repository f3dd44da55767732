"""Connections to one PostgreSQL database: as many as are used at once, and bounded in time."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import errors

from edge_host.clock import SystemClock
from ingest_server.storage.silence import Silence, SilentError

T = TypeVar("T")

CONNECT_S = 5
ANSWER_S = 25.0
"""How long nothing may come of a statement: a little longer than PostgreSQL itself takes to end it."""
MOST = 48
"""Connections at once: PostgreSQL takes a hundred where nobody has said otherwise, of all its clients."""
MOST_IDLE = 16
LOOKS = 5
"""Whether a pooler gives what one has just let go of to another: each takes the one that was used last."""
TURN_S = 10.0
"""How long a statement waits for a connection."""
_BOUNDS = (
    "SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '15s'; "
    "SET statement_timeout = '20s'; "
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
"""A replica that hangs must not hold up the others for ever, nor may one statement. And what is acknowledged is on
the disk, whatever the database's own default is."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up on a database that says nothing: one that hangs ends no statement."""

    silence: Silence
    patience_s: float | None = None
    """How long nothing may come; None: any time."""

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **more: Any) -> T:
        """Do what psycopg does while it waits, as long as there is patience.

        Raises:
            psycopg.OperationalError: nothing came; the connection is closed.
        """
        if self.patience_s is not None:
            gen = self._patiently(gen, self.patience_s)
        return super().wait(gen, *args, **more)

    def _patiently(self, gen: Generator[Any, Any, T], patience_s: float) -> Generator[Any, Any, T]:
        """Pass *gen* on; it is woken ten times a second, whether something came or not."""
        try:
            wanted = next(gen)
            heard_s = self.silence.now_s()
            while True:
                ready = yield wanted
                if ready:
                    heard_s = self.silence.now_s()
                elif self.silence.now_s() - heard_s > patience_s:
                    self.silence.gave_up(heard_s)
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"nothing came for {patience_s:.0f} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            self.silence.heard()
            answer: T = done.value
            return answer


def connect_patiently(url: str) -> Connection:
    """Return a connection for one long piece of work that a person waits for, and may end.

    Raises:
        psycopg.Error: there is no way to the database, or it does not let us in.
    """
    connection = Connection.connect(
        url, autocommit=True, connect_timeout=CONNECT_S, client_encoding="UTF8"
    )
    connection.silence = Silence(SystemClock().now_s)
    return connection


def is_direct(connection: Connection) -> bool:
    """Whether PostgreSQL itself is at the other end, and no pooler, which gives out keys of its own."""
    return _process(connection) == connection.info.backend_pid


def is_shared(one: Connection, other: Connection) -> bool:
    """Whether two that are open were seen to be one at PostgreSQL, in turn."""
    if is_direct(one):
        return False
    for _ in range(LOOKS):
        process = _process(one)
        with other.transaction():
            if _process(other) == process:
                return True
    return False


def _process(connection: Connection) -> int:
    [(process,)] = connection.execute("SELECT pg_backend_pid()").fetchall()
    return int(process)


class Connections:
    """The connections of one process: as many as are used at once, kept for the next who needs one."""

    def __init__(self, url: str) -> None:
        self._url = url
        # A list: its pop and append are atomic.
        self._idle: list[Connection] = []
        self._places = threading.BoundedSemaphore(MOST)
        self._silence = Silence(SystemClock().now_s)
        self._closed = False

    def connect(self) -> Connection:
        """Return a new connection, on which each statement is a transaction of its own.

        Raises:
            psycopg.Error: there is no way to the database, or it does not let us in.
        """
        since_s = self._silence.now_s()
        try:
            connection = self._connected()
        except errors.ConnectionTimeout:
            self._silence.gave_up(since_s)
            raise
        connection.silence, connection.patience_s = self._silence, CONNECT_S
        connection.execute(_BOUNDS)
        if not is_direct(connection):
            # Where a pooler shares connections, another one's statement may have the name of one of ours.
            connection.prepare_threshold = None
        connection.patience_s = ANSWER_S
        return connection

    def _connected(self) -> Connection:
        return Connection.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_S,
            application_name="ingest-server",
            client_encoding="UTF8",
            # A replica whose machine is gone must not keep its locks for hours.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=20_000,
        )

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """Lend a connection; one that is broken, or in the middle of something, is not kept.

        Raises:
            psycopg.Error: there is no way to the database, all connections are in use for too long, or
                the database hangs and somebody waits already to find out for how long.
        """
        try:
            with self._silence.asking():
                yield from self._lent()
        except SilentError:
            raise psycopg.OperationalError("the database says nothing") from None

    def _lent(self) -> Iterator[Connection]:
        if not self._places.acquire(timeout=TURN_S):
            raise errors.TooManyConnections("all connections of this server are in use")
        try:
            yield from self._kept(self._pop() or self.connect())
        finally:
            self._places.release()

    def _kept(self, connection: Connection) -> Iterator[Connection]:
        try:
            yield connection
        finally:
            is_idle = connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
            if is_idle and not self._closed and len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
            else:
                with suppress(psycopg.Error):
                    connection.close()

    def forget_idle(self) -> None:
        """Close what nobody uses: the database was restarted."""
        while (connection := self._pop()) is not None:
            with suppress(psycopg.Error):
                connection.close()

    def close(self) -> None:
        """Close what nobody uses, and what is lent once it comes back. Repeatable."""
        self._closed = True
        self.forget_idle()

    def _pop(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None
