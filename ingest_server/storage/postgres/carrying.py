"""An empty PostgreSQL database gets every row of another one, in one transaction: all of them or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any, Protocol

import psycopg
from psycopg import sql

from ingest_server.core.errors import StateError
from ingest_server.storage.postgres import connections, failures, statements
from ingest_server.storage.postgres.connections import Connection
from ingest_server.storage.postgres.tables import make_tables
from ingest_server.storage.postgres.text import without_password

_LOCK = 0x63617272


class Rows(Protocol):
    """A table of the other database."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def last(self) -> int:
        """The greatest number that a row ever had, where the table numbers them; else 0."""
        ...

    @property
    def rows(self) -> Iterable[tuple[Any, ...]]: ...


class Carrying:
    """The one transaction; nobody sees any of it before it is committed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def refuse_used(self) -> None:
        """Refuse a database that knows something, and keep everybody else from writing.

        Raises:
            StateError: it is not empty, or somebody else is at it.
        """
        [(is_ours,)] = self._ask("SELECT pg_try_advisory_xact_lock(%s)", _LOCK)
        if not is_ours:
            raise StateError(
                "Another `ingest-server migrate` is filling this database: wait for it"
            )
        self._ask("LOCK TABLE uploads, tokens, users, folder IN EXCLUSIVE MODE")
        _refuse_used(self._connection)

    def take(self, table: Rows, name: str | None = None) -> int:
        """Take every row of a table; return how many there were.

        Args:
            name: of the table here, where that is another.
        """
        name = name or table.name
        types = self._types(name)
        makers = [_maker(types[column]) for column in table.columns]
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        copy = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(name), columns)
        count = 0
        with self._connection.cursor() as cursor, cursor.copy(copy) as into:
            for row in table.rows:
                into.write_row([make(one) for make, one in zip(makers, row, strict=True)])
                count += 1
        self._number_on(name, table.last)
        return count

    def write(self, statement: str, *values: object) -> None:
        self._connection.execute(statements.translated(statement), values)

    def _types(self, name: str) -> Mapping[str, str]:
        return dict(
            self._ask(
                "SELECT column_name, data_type FROM information_schema.columns "
                "WHERE table_schema = current_schema() AND table_name = %s",
                name,
            )
        )

    def _number_on(self, name: str, last: int) -> None:
        """Let the next row have a greater number than any that was ever given."""
        found = self._ask(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() "
            "AND table_name = %s AND is_identity = 'YES'",
            name,
        )
        for (column,) in found:
            table, number = sql.Identifier(name), sql.Identifier(column)
            [(most,)] = self._ask(
                sql.SQL("SELECT coalesce(max({}), 0) FROM {}").format(number, table)
            )
            if max(most, last):
                self._ask(
                    "SELECT setval(pg_get_serial_sequence(%s, %s), %s)",
                    name,
                    column,
                    max(most, last),
                )

    def _ask(self, statement: str | sql.Composed, *values: object) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(
            statement.encode() if isinstance(statement, str) else statement, values
        )
        return [] if cursor.description is None else cursor.fetchall()


def try_out(url: str) -> None:
    """Try whether `carry` could begin; nothing that this makes stays, and nobody waits for it.

    Raises:
        StateError: the database is in use, or does not let us make tables.
    """
    where = without_password(url)
    try:
        with (
            closing(connections.connect_patiently(url)) as connection,
            connection.transaction(force_rollback=True),
        ):
            _refuse_used(connection)  # first: tables that somebody uses are not touched
            make_tables(connection, where)
    except psycopg.Error as error:
        raise failures.unusable(error, where) from error


def carry(url: str, work: Callable[[Carrying], None]) -> None:
    """Run *work* on tables that are made for it; what it takes is there, durable, on return, or nothing of it.

    Raises:
        StateError: the database is in use, another command is at it, or it failed.
    """
    try:
        begun = connections.connect_patiently(url)
    except psycopg.Error as error:
        raise failures.unusable(error, without_password(url)) from error
    try:
        with closing(begun) as connection, connection.transaction():
            row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone()
            if row != (True,):
                raise StateError(
                    "Another `ingest-server migrate` is filling this database: wait for it"
                )
            make_tables(connection, without_password(url))
            connection.patience_s = None  # a million rows take what they take
            connection.execute("SET LOCAL statement_timeout = 0")
            work(Carrying(connection))
    except psycopg.Error as error:
        failed = failures.failed(error)
        raise StateError(
            f"The facts were not carried over: {failed.detail}. The database is as empty as it was; mend "
            "that, and run this again"
        ) from error


def _refuse_used(connection: Connection) -> None:
    for name in ("uploads", "tokens", "users", "folder", "devices"):
        if connection.execute("SELECT to_regclass(%s)", (name,)).fetchone() == (None,):
            continue
        found = connection.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(name)))
        if found.fetchone() is not None:
            raise StateError(
                "The database that [storage] state names is in use already: name one that is empty. "
                "Nothing was changed"
            )


def _maker(kind: str) -> Callable[[Any], Any]:
    if kind == "boolean":
        return lambda value: None if value is None else bool(value)
    if kind == "bytea":
        return lambda value: value.encode() if isinstance(value, str) else value
    return statements.stored
