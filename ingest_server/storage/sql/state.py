"""What the tables beside the uploads need of their database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from ingest_server.storage.sql.dialect import Dialect
from ingest_server.storage.sql.writes import SqlTransaction

T = TypeVar("T")


class SqlState(Protocol):
    """A database that runs statements and transactions."""

    dialect: Dialect

    @property
    def events_dropped(self) -> int:
        """Events that were too many and that somebody was to be told of, since this was opened."""
        ...

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]: ...

    def row(self, sql: str, *values: object) -> tuple[Any, ...] | None: ...

    def run(self, job: Callable[[SqlTransaction], T]) -> T: ...

    def submit_along(self, job: Callable[[SqlTransaction], T]) -> Future[T]: ...
