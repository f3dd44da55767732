"""What is remembered of devices, in a SQLite file of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ingest_server.storage.sql.dialect import SQLITE
from ingest_server.storage.sql.fleet import SqlFleet
from ingest_server.storage.sql.fleet_database import FleetDatabase, FleetTransaction
from ingest_server.storage.sqlite.fleet_file import FleetFile

T = TypeVar("T")


class SqliteFleet(SqlFleet):
    """The file ``fleet.db`` of a data folder."""

    def __init__(self, path: Path, *, begins_anew: bool = True) -> None:
        """Open it.

        Args:
            begins_anew: where it cannot be read, a new one takes its place: the server alone does that.

        Raises:
            StateError: it cannot be opened at all.
        """
        self._file = FleetFile(path, begins_anew=begins_anew)
        super().__init__(_Database(self._file))


class _Database(FleetDatabase):
    dialect = SQLITE
    events = "events"

    def __init__(self, file: FleetFile) -> None:
        self._file = file

    @property
    def generation(self) -> int:
        return self._file.generation

    def read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._file.read(lambda connection: connection.execute(sql, values).fetchall())

    def change(
        self,
        job: Callable[[FleetTransaction], T],
        *,
        is_durable: bool = False,
        of: str | None = None,  # noqa: ARG002 # one connection, one writer
    ) -> T:
        return self._file.write(
            lambda connection: job(_Transaction(connection)), is_durable=is_durable
        )

    def close(self) -> None:
        self._file.close()


class _Transaction(FleetTransaction):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def write(self, sql: str, *values: object) -> int:
        return self._connection.execute(sql, values).rowcount

    def write_each(self, sql: str, values: Iterable[Sequence[object]]) -> None:
        self._connection.executemany(sql, values)
