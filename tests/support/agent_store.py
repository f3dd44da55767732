"""The agent's store over a database that a test may look at, and what is asked of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge_agent.base.clock import Clock
from edge_agent.store.database import Database
from edge_agent.store.outbox import Outbox
from edge_agent.store.recordings import Store
from edge_agent.store.schema import MIGRATIONS


def store_over(path: Path, clock: Clock) -> tuple[Store, Database]:
    """Return the store in the file at *path*, as `Store.open` makes it, and its database."""
    database = Database.open(path, MIGRATIONS, now=clock.now_utc())
    return Store(database, Outbox(database, clock=clock, boot_id="boot"), clock=clock), database


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Yield the list of what *database* executes in the ``with`` block, those of triggers too."""
    executed: list[str] = []
    with database.reading() as run:
        run.set_trace_callback(executed.append)
    try:
        yield executed
    finally:
        with database.reading() as run:
            run.set_trace_callback(None)


def plans(database: Database, executed: Sequence[str]) -> list[str]:
    """Return the steps of SQLite's plan for each of the statements *executed*."""
    with database.reading() as run:
        return [
            row[3]
            for sql in executed
            for row in run.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
        ]
