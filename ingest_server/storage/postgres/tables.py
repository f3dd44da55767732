"""The tables of a database: made, or brought up to date, by one server at a time."""

from __future__ import annotations

from ingest_server.core.errors import StateError, StateTooNewError
from ingest_server.storage.postgres import connections
from ingest_server.storage.postgres.connections import Connection
from ingest_server.storage.postgres.schema import MIGRATIONS, VERSION

MIGRATION_S = 600.0
"""Of one step of bringing tables up to date: an index over millions of rows takes its time."""

_LOCK = 0x7363686D


def refuse_older(connection: Connection, where: str) -> None:
    """Refuse tables that are not of this version, without changing them.

    Raises:
        StateError: they are of another, or there are none.
    """
    [(is_there,)] = connection.execute("SELECT to_regclass('schema_version')").fetchall()
    row = is_there and connection.execute("SELECT version FROM schema_version").fetchone()
    found = int(row[0]) if row else 0
    if found < VERSION:
        raise StateError(f"{where} has an older format: start `ingest-server run` once")
    _refuse_newer(found, where)


def make_tables(connection: Connection, where: str) -> None:
    """Make the tables, or bring those of an older version up to date.

    Raises:
        StateTooNewError: a newer version has made them.
    """
    connection.patience_s = MIGRATION_S
    with connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = '{MIGRATION_S:.0f}s'".encode())
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (only_row BIGINT PRIMARY KEY CHECK "
            "(only_row = 1), version BIGINT NOT NULL)"
        )
        row = connection.execute("SELECT version FROM schema_version").fetchone()
        found = 0 if row is None else int(row[0])
        _refuse_newer(found, where)
        for script in MIGRATIONS[found:]:
            connection.execute(script)
        connection.execute(
            "INSERT INTO schema_version VALUES (1, %s) ON CONFLICT (only_row) "
            "DO UPDATE SET version = excluded.version",
            (VERSION,),
        )
    connection.patience_s = connections.ANSWER_S


def _refuse_newer(found: int, where: str) -> None:
    if found > VERSION:
        raise StateTooNewError(
            f"{where} was written by a newer version of ingest-server (its format is {found}, this "
            f"one knows {VERSION}): upgrade ingest-server"
        )
