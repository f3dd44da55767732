"""Statements over one connection, and what PostgreSQL cannot keep as it is.

A connection that its server has let go of is found out by the statement that meets it: what only reads is
asked once more over another one, and so is a transaction that has not begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import psycopg

from ingest_server.storage.postgres.connections import Connection
from ingest_server.storage.postgres.failures import is_lost, is_read_only

# PostgreSQL has no text with U+0000, and a name that a client tells may have it. U+FFFE is no character (and
# is what marks the places where it was).
_NUL, _MARK = "\0", "\ufffe"


def rows(connection: Connection, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
    """Run one statement; return what it finds."""
    cursor = connection.execute(translated(sql), [stored(one) for one in values])
    if cursor.description is None:
        return []
    return [tuple(_told(one) for one in row) for row in cursor.fetchall()]


def write(connection: Connection, sql: str, values: Sequence[object]) -> int:
    """Run one statement; return how many rows it changed."""
    return connection.execute(translated(sql), [stored(one) for one in values]).rowcount


def write_each(connection: Connection, sql: str, values: Iterable[Sequence[object]]) -> None:
    """Run one statement for each of *values*, without waiting for one before the next goes out."""
    kept = [[stored(one) for one in row] for row in values]
    if kept:
        with connection.cursor() as cursor:
            cursor.executemany(translated(sql), kept)


@lru_cache(maxsize=512)
def translated(sql: str) -> str:
    """Return *sql* with psycopg's marks for values."""
    return sql.replace("%", "%%").replace("?", "%s")


def stored(value: object) -> object:
    """Return a value as it is kept here."""
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
        if is_lost(error) or is_read_only(error):
            raise UnbegunError from error
        raise
