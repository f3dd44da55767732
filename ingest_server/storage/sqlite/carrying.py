"""Every row of a SQLite file, table by table, for a database that takes its place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_host import sqlite_file
from ingest_server.core.errors import StateError

WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Table:
    """One table, as it is now."""

    name: str
    columns: tuple[str, ...]
    count: int
    last: int
    """The greatest number that a row ever had, where the table numbers them; else 0."""
    rows: Iterator[tuple[Any, ...]]
    """To be read once, before the next table."""


def tables(path: Path, besides: frozenset[str] = frozenset()) -> Iterator[Table]:
    """Yield each table of a file that nobody writes to meanwhile.

    Args:
        besides: names of tables that are not meant.

    Raises:
        StateError: it cannot be read.
    """
    try:
        with closing(sqlite_file.connect(path, timeout_s=WAIT_S, writes=False)) as connection:
            for name in _names(connection):
                if name not in besides:
                    yield _table(connection, name)
    except sqlite3.Error as error:
        raise StateError(f"cannot read {path}: {error}") from error


def _names(connection: sqlite3.Connection) -> list[str]:
    named = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [name for (name,) in connection.execute(f"{named} ORDER BY name").fetchall()]


def _table(connection: sqlite3.Connection, name: str) -> Table:
    columns = tuple(row[1] for row in connection.execute(f'PRAGMA table_info("{name}")').fetchall())
    [count] = connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()
    listed = ", ".join(f'"{one}"' for one in columns)
    rows = connection.execute(f'SELECT {listed} FROM "{name}"')
    return Table(name, columns, int(count), _last(connection, name), rows)


def _last(connection: sqlite3.Connection, name: str) -> int:
    if not connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'"
    ).fetchone():
        return 0
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (name,)).fetchone()
    return 0 if found is None else int(found[0])
