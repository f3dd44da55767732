"""One job's reads and writes, on the one connection that writes."""

from __future__ import annotations

import sqlite3
from typing import Any

from ingest_server.storage.claims import Claims
from ingest_server.storage.interface import Claim, Lease
from ingest_server.storage.sql.dialect import SQLITE
from ingest_server.storage.sql.writes import SqlTransaction


class SqliteTransaction(SqlTransaction):
    """Reads and writes of one job."""

    dialect = SQLITE

    def __init__(self, connection: sqlite3.Connection, claims: Claims) -> None:
        super().__init__()
        self._connection = connection
        self._claims = claims

    def is_standing(self, claim: Claim) -> bool:
        return self._claims.is_standing(claim)

    def end_claims(self, upload_id: str) -> None:
        self._claims.end(upload_id)

    def is_leased(self, lease: Lease) -> bool:
        return self._claims.is_leased(lease)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def write(self, sql: str, *values: object) -> int:
        return self._connection.execute(sql, values).rowcount
