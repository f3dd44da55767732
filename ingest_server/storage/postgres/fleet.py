"""What is remembered of devices, in the database of their uploads, shared by all replicas."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

from ingest_server.storage.postgres.fleet_schema import EVENTS
from ingest_server.storage.sql.dialect import POSTGRES
from ingest_server.storage.sql.fleet import SqlFleet
from ingest_server.storage.sql.fleet_database import FleetDatabase, FleetTransaction

if TYPE_CHECKING:
    from ingest_server.storage.postgres.transactions import PostgresState

T = TypeVar("T")

_LOCK = 0x666C6574


class PostgresFleet(SqlFleet):
    """Over the connections of a state."""

    is_shared = True

    def __init__(self, state: PostgresState, *, closes: bool = False) -> None:
        """Begin.

        Args:
            closes: whether `close` closes the state; else whoever opened that does.
        """
        super().__init__(_Database(state, closes=closes))

    def now_s(self) -> float:
        [(seconds,)] = self._database.read("SELECT extract(epoch FROM clock_timestamp())")
        return float(seconds)


class _Database(FleetDatabase):
    dialect = POSTGRES
    events = EVENTS
    generation = 0

    def __init__(self, state: PostgresState, *, closes: bool) -> None:
        self._state = state
        self._closes = closes

    def read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._state.rows(sql, *values)

    def change(
        self,
        job: Callable[[FleetTransaction], T],
        *,
        is_durable: bool = False,
        of: str | None = None,
    ) -> T:
        lock = _LOCK if of is None else _LOCK << 32 | crc32(of.encode())
        return self._state.run_alone(lock, job, is_durable=is_durable)

    def close(self) -> None:
        if self._closes:
            self._state.close()
