"""The agent's store over a database that a test may look at, and what is asked of that."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from edge_agent.base.clock import Clock
from edge_agent.core.recording import Found, Identity
from edge_agent.store.database import Database
from edge_agent.store.outbox import Outbox
from edge_agent.store.recordings import Store
from edge_agent.store.schema import MIGRATIONS
from tests.support.clock import VirtualClock

CLOCK = VirtualClock()


def open_store(path: Path) -> Store:
    return Store.open(path, clock=CLOCK, boot_id="boot")


def found(name: bytes = b"a.mp4", inode: int = 7, **more: Any) -> Found:
    """Return a new file of one byte."""
    identity = Identity(device=1, inode=inode, length=1, mtime_ns=2, ctime_ns=3)
    return Found(path=b"/media/" + name, folder="", name="a.mp4", identity=identity, **more)


@contextmanager
def another_program(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to the store's file as another program has one; committed at the end."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def store_over(path: Path, clock: Clock) -> tuple[Store, Database]:
    """Return the store in the file at *path*, as `Store.open` makes it, and its database."""
    database = Database.open(path, MIGRATIONS, now=clock.now_utc())
    outbox = Outbox(database, clock=clock, boot_id="boot")
    return Store(database, outbox, clock=clock, boot_id="boot"), database


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
