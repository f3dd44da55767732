"""One job's reads and writes in one PostgreSQL transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ingest_server.storage.interface import Claim, Lease
from ingest_server.storage.postgres import claims, leases, statements
from ingest_server.storage.postgres.connections import Connection
from ingest_server.storage.sql.dialect import POSTGRES
from ingest_server.storage.sql.writes import SqlTransaction

_EVENTS_LOCK = 0x65766E74


class PostgresTransaction(SqlTransaction):
    """One job's reads and writes."""

    dialect = POSTGRES

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self._is_in_line = False

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return statements.rows(self._connection, sql, values)

    def write(self, sql: str, *values: object) -> int:
        return statements.write(self._connection, sql, values)

    def write_each(self, sql: str, values: Iterable[Sequence[object]]) -> None:
        statements.write_each(self._connection, sql, values)

    def is_standing(self, claim: Claim) -> bool:
        return claims.is_standing(self, claim)

    def end_claims(self, upload_id: str) -> None:
        claims.end_all(self, upload_id)

    def is_leased(self, lease: Lease) -> bool:
        return leases.is_held(self, lease)

    def in_line(self) -> None:
        # Else a number could become visible after a greater one that a target has been told of already.
        if not self._is_in_line:
            self.rows("SELECT pg_advisory_xact_lock(?)", _EVENTS_LOCK)
            self._is_in_line = True

    def set_uptime(self, seconds: float) -> None:
        self.write("UPDATE uptime SET seconds = greatest(seconds, ?)", seconds)
