"""Every row of a server's SQLite files comes to PostgreSQL, whatever is in it, or none."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg
import pytest

from ingest_server.assembly.moving_facts import all_tables
from ingest_server.core import events
from ingest_server.core.errors import StateError
from ingest_server.storage.postgres.carrying import carry
from ingest_server.storage.postgres.transactions import PostgresState
from ingest_server.storage.sqlite.fleet import SqliteFleet
from ingest_server.storage.sqlite.transactions import SqliteState

pytestmark = pytest.mark.slow
LAST = 9000
"""The number of the newest event that there ever was."""


@pytest.fixture
def folder(tmp_path):
    """A data folder in which each table has rows, of each kind of value."""
    SqliteState.open(tmp_path / "state.db").close()
    SqliteFleet(tmp_path / "fleet.db").close()
    for name in ("state.db", "fleet.db"):
        with closing(sqlite3.connect(tmp_path / name)) as file, file:
            fill(file)
    with closing(sqlite3.connect(tmp_path / "state.db")) as file, file:
        file.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'events'", (LAST,))
    return tmp_path


def fill(file):
    named = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    for (table,) in file.execute(named).fetchall():
        if table in {"uptime", "relocation", "carried", "commits"}:
            continue
        columns = file.execute(f'PRAGMA table_info("{table}")').fetchall()
        marks = ", ".join("?" for _ in columns)
        for number in (1, 2):
            row = [value(kind, name, number) for _, name, kind, *_ in columns]
            file.execute(f'INSERT INTO "{table}" VALUES ({marks})', row)


def value(kind, name, number):
    text = f'{name}\0{number}\ufffe\\N\t"\n'
    return {"TEXT": text, "INTEGER": number, "REAL": number + 0.25, "BLOB": b"\\\0\xff%d" % number}[
        "INTEGER" if name == "is_whole" else kind
    ]


def carried(url, folder):
    def take_all(into):
        for one in all_tables(folder):
            into.take(*one)

    carry(url, take_all)


def test_each_row_comes_over_as_it_was(folder, database_server):
    url = database_server.database()
    wanted = {name: (t.columns, sorted(t.rows, key=repr)) for t, name in all_tables(folder)}
    carried(url, folder)

    with closing(PostgresState.open(url)) as state:
        for name, (columns, rows) in wanted.items():
            listed = ", ".join(f'"{one}"' for one in columns)
            found = state.rows(f'SELECT {listed} FROM "{name}"')
            # A sign of truth is a number in one of them.
            plain = [tuple(int(v) if isinstance(v, bool) else v for v in row) for row in found]
            signs = [columns.index(one) for one in columns if one == "is_whole"]
            was = [tuple(int(bool(v)) if i in signs else v for i, v in enumerate(r)) for r in rows]
            assert sorted(plain, key=repr) == was, name
    assert {"uploads", "tokens", "users", "device_events", "commands", "groups"} <= set(wanted)


def test_what_comes_afterwards_is_numbered_on(folder, database_server):
    url = database_server.database()
    carried(url, folder)

    with closing(PostgresState.open(url)) as state:
        state.run(lambda rows: rows.tell_of_server(events.STORAGE_LOW, {}))
        assert state.outbox.newest() == LAST + 1


def test_what_fails_in_the_middle_leaves_nothing(folder, database_server):
    url = database_server.database()

    def halfway(into):
        for count, one in enumerate(all_tables(folder)):
            into.take(*one)
            if count == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry(url, halfway)

    assert PostgresState.is_unbegun(url)
    carried(url, folder)


def test_a_database_that_knows_something_is_refused(folder, database_server):
    url = database_server.database()
    carried(url, folder)

    with pytest.raises(StateError, match="in use already: name one that is empty"):
        carry(url, lambda into: into.refuse_used())


def test_a_second_command_that_fills_the_same_database_is_refused(database_server):
    url = database_server.database()

    def beside(into):
        into.refuse_used()
        with pytest.raises(StateError, match="Another `ingest-server migrate`"):
            carry(url, lambda other: other.refuse_used())

    carry(url, beside)


def test_a_database_without_room_is_told_and_stays_empty(folder, database_server):
    url = database_server.database()

    def full(into):
        for one in all_tables(folder):
            into.take(*one)
        raise psycopg.errors.DiskFull("no space left on device")

    with pytest.raises(StateError, match=r"cannot grow.*as empty as it was"):
        carry(url, full)

    assert PostgresState.is_unbegun(url)
