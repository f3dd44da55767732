"""Connections to one PostgreSQL database, and what their errors mean.

A connection that its server has let go of is found out by the statement that meets it: what only reads is
asked once more over another one, and so is a transaction that has not begun.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import psycopg
from psycopg import errors

from ingest_server.core.errors import StateError, StateFailed

CONNECT_S = 5
MOST = 48
"""Connections at once: PostgreSQL takes a hundred where nobody has said otherwise, of all its clients."""
MOST_IDLE = 16
TURN_S = 10.0
"""How long a statement waits for a connection."""
_BOUNDS = "SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '15s'"
"""A replica that hangs must not hold up the others for ever."""
BUSY_RETRY_S = 5.0

Connection = psycopg.Connection[tuple[Any, ...]]

# PostgreSQL has no text with U+0000, and a name that a client tells may have it. U+FFFE is no character (and
# is what marks the places where it was).
_NUL, _MARK = "\0", "\ufffe"


class Connections:
    """The connections of one process: as many as are used at once, kept for the next who needs one."""

    def __init__(self, url: str) -> None:
        self._url = url
        # A list: its pop and append are atomic.
        self._idle: list[Connection] = []
        self._places = threading.BoundedSemaphore(MOST)
        self._closed = False

    def connect(self) -> Connection:
        """Return a new connection, on which each statement is a transaction of its own.

        Raises:
            psycopg.Error: there is no way to the database, or it does not let us in.
        """
        connection = psycopg.connect(
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
        connection.execute(_BOUNDS)
        return connection

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """Lend a connection; one that is broken, or in the middle of something, is not kept.

        Raises:
            psycopg.Error: there is no way to the database, or all connections are in use for too long.
        """
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


def rows(connection: Connection, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
    """Run one statement; return what it finds."""
    cursor = connection.execute(translated(sql), [_stored(one) for one in values])
    if cursor.description is None:
        return []
    return [tuple(_told(one) for one in row) for row in cursor.fetchall()]


def write(connection: Connection, sql: str, values: Sequence[object]) -> int:
    """Run one statement; return how many rows it changed."""
    return connection.execute(translated(sql), [_stored(one) for one in values]).rowcount


def write_each(connection: Connection, sql: str, values: Iterable[Sequence[object]]) -> None:
    """Run one statement for each of *values*, without waiting for one before the next goes out."""
    stored = [[_stored(one) for one in row] for row in values]
    if stored:
        with connection.cursor() as cursor:
            cursor.executemany(translated(sql), stored)


@lru_cache(maxsize=512)
def translated(sql: str) -> str:
    """Return *sql* with psycopg's marks for values."""
    return sql.replace("%", "%%").replace("?", "%s")


def _stored(value: object) -> object:
    if isinstance(value, str) and (_NUL in value or _MARK in value):
        return value.replace(_MARK, f"{_MARK}1").replace(_NUL, f"{_MARK}0")
    return value


def _told(value: Any) -> Any:
    if isinstance(value, str) and _MARK in value:
        return value.replace(f"{_MARK}0", _NUL).replace(f"{_MARK}1", _MARK)
    return value


class UnbegunError(Exception):
    """The connection was gone before the transaction began; the cause says how."""


def begin(connection: Connection, *, is_durable: bool, is_alone: bool = False) -> None:
    """Begin a transaction.

    Args:
        is_durable: whether its commit waits for the disk; else a crash of the database may lose it.
        is_alone: whether a lock keeps all others away whose writes it could meet: it sees what they have
            committed, then, and never has to be run again.

    Raises:
        UnbegunError: the connection is gone.
    """
    relaxed = "" if is_durable else "; SET LOCAL synchronous_commit = off"
    level = "READ COMMITTED" if is_alone else "SERIALIZABLE"
    try:
        connection.execute(f"BEGIN ISOLATION LEVEL {level}{relaxed}")
    except psycopg.Error as error:
        if is_lost(error):
            raise UnbegunError from error
        raise


def is_conflict(error: psycopg.Error) -> bool:
    """Whether another transaction was in the way, and the same one may pass when it is run again."""
    return isinstance(error, errors.SerializationFailure | errors.DeadlockDetected)


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone: the database was restarted, or the way to it broke."""
    known = (
        errors.AdminShutdown
        | errors.CrashShutdown
        | errors.CannotConnectNow
        | errors.IdleInTransactionSessionTimeout
    )
    is_broken = isinstance(error, psycopg.OperationalError) and not error.sqlstate
    return is_broken or isinstance(error, known)


def failed(error: psycopg.Error) -> StateFailed:
    """Return what a client is told about *error*."""
    if isinstance(error, errors.DiskFull | errors.OutOfMemory):
        return StateFailed("storage-full", "the server's database cannot grow", retry_after_s=60)
    if is_conflict(error) or isinstance(error, errors.LockNotAvailable):
        return StateFailed(
            "server-busy", "the server's database is busy", retry_after_s=BUSY_RETRY_S
        )
    if is_lost(error) or isinstance(error, errors.TooManyConnections):
        return StateFailed(
            "server-busy", "the server's database does not answer", retry_after_s=BUSY_RETRY_S
        )
    return StateFailed("storage-failed", f"the server's database failed ({_first_line(error)})")


def unusable(error: psycopg.Error, where: str) -> StateError:
    """Return why the server cannot start with the database at *where*, and what to do."""
    what = _first_line(error)
    if isinstance(error, errors.InsufficientPrivilege):
        return StateError(
            f"{where} lets us in and nothing more ({what}): the user must own the database's schema. As "
            "its owner: GRANT ALL ON SCHEMA public TO that user"
        )
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return StateError(
            f"{where} is read-only ({what}): it is a standby. Name the primary, or several hosts with "
            "?target_session_attrs=read-write"
        )
    return StateError(
        f"cannot use the database {where} ({what}): see [storage] state, and whether PostgreSQL runs there"
    )


def without_password(url: str) -> str:
    """Return *url* as it may be logged."""
    scheme, _, rest = url.partition("://")
    head, at, tail = rest.rpartition("@")  # the last one: a password may have some, too
    place, _, query = tail.partition("?")
    told = [one for one in query.split("&") if one and not _is_secret(one.partition("=")[0])]
    user = re.split("[:/?]", head)[0]
    return f"{scheme}://{user}{at}{place}{'?' if told else ''}{'&'.join(told)}"


def _is_secret(name: str) -> bool:
    return any(word in unquote(name).lower() for word in ("password", "secret"))


def _first_line(error: psycopg.Error) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
