"""What the tables of the fleet need of their database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from ingest_server.storage.sql.dialect import Dialect

T = TypeVar("T")

NUMBER_OF_DEVICE = "(SELECT number FROM devices WHERE device = ?)"
"""What rows about a device are kept under."""


class FleetTransaction(Protocol):
    """One job's reads and writes."""

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]: ...

    def write(self, sql: str, *values: object) -> int:
        """Run one statement; return how many rows it changed."""
        ...

    def write_each(self, sql: str, values: Iterable[Sequence[object]]) -> None:
        """Run one statement for each of *values*."""
        ...


class FleetDatabase(Protocol):
    """Safe to use from several threads. What fails raises `StateFailed`, and nothing of it is stored."""

    dialect: Dialect
    events: str
    """The name of the table of what happened on devices."""

    @property
    def generation(self) -> int:
        """Rises whenever the database was begun anew under its user."""
        ...

    def read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what is found in what is committed."""
        ...

    def change(
        self,
        job: Callable[[FleetTransaction], T],
        *,
        is_durable: bool = False,
        of: str | None = None,
    ) -> T:
        """Run *job* in a transaction, after those of all others that change something.

        Args:
            is_durable: it is on disk on return; else a power cut may take it.
            of: after those of this device alone, where nobody goes by the order of all.
        """
        ...

    def close(self) -> None: ...
