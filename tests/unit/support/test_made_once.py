"""What the tests make once is what the programs make each time."""

import sqlite3
from contextlib import closing

import pytest

from edge_host import sqlite_file
from tests.support.made_once import SCHEMAS, migrate_in_steps


def whole(path, migrate, migrations, *, shrinks=False):
    if shrinks:
        sqlite_file.let_shrink(path, timeout_s=1)
    with closing(sqlite_file.connect(path, timeout_s=1)) as connection:
        migrate(connection, path, migrations, copy="", too_new=RuntimeError)
        pragmas = ("journal_mode", "synchronous", "auto_vacuum", "page_size", "foreign_keys")
        tables = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
        return (
            sqlite_file.version(connection),
            [connection.execute(f"PRAGMA {one}").fetchone() for one in pragmas],
            connection.execute(tables).fetchall(),
            list(connection.iterdump()),
        )


@pytest.mark.parametrize("shrinks", [False, True])
@pytest.mark.parametrize("migrations", SCHEMAS, ids=["agent", "server", "fleet"])
def test_a_file_made_at_once_is_the_one_that_grew(tmp_path, migrations, shrinks):
    grown = whole(tmp_path / "grown.db", migrate_in_steps, migrations, shrinks=shrinks)

    made = whole(tmp_path / "made.db", sqlite_file.migrate, migrations, shrinks=shrinks)

    assert made == grown


def test_a_file_that_a_program_left_in_between_grows_in_steps(tmp_path):
    path, migrations = tmp_path / "old.db", SCHEMAS[0]
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        migrate_in_steps(old, path, migrations[:1], copy="", too_new=RuntimeError)

    found = whole(
        path,
        lambda *of, **how: sqlite_file.migrate(*of, **{**how, "copy": "{name}.v{version}"}),
        migrations,
    )

    assert found[0] == len(migrations)
    assert (tmp_path / "old.db.v1").exists()
