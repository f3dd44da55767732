"""A file that grows with the program: whole, with a copy of what it was, and never back."""

import sqlite3
import stat
from contextlib import closing

import pytest

from edge_host import sqlite_file
from edge_host.sqlite_file import version

FIRST = "CREATE TABLE a (x); INSERT INTO a VALUES (';');"
TRIGGER = """
CREATE TABLE b (x);
CREATE TRIGGER copied AFTER INSERT ON a BEGIN
  INSERT INTO b VALUES (NEW.x); -- a semicolon; and another
  INSERT INTO b VALUES (NEW.x || ';');
END;
"""


class TooNewError(Exception):
    pass


def migrate(file, path, steps):
    sqlite_file.migrate(file, path, steps, copy="{name}.v{version}", too_new=TooNewError)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "odd ?#% name.db"


@pytest.fixture
def file(path):
    with closing(sqlite_file.connect(path, timeout_s=1)) as connection:
        yield connection


def test_each_step_is_taken_once_and_a_trigger_is_one_statement(path, file):
    migrate(file, path, [FIRST, TRIGGER])
    migrate(file, path, [FIRST, TRIGGER])

    file.execute("INSERT INTO a VALUES ('y')")

    assert version(file) == 2
    assert file.execute("SELECT x FROM a").fetchall() == [(";",), ("y",)]
    assert file.execute("SELECT x FROM b").fetchall() == [("y",), ("y;",)]


def test_an_older_file_is_copied_with_its_mode_and_a_new_one_is_not(path, file):
    migrate(file, path, [FIRST])
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    path.chmod(0o640)

    migrate(file, path, [FIRST, TRIGGER])

    copy = path.with_name(f"{path.name}.v1")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o640
    with closing(sqlite3.connect(copy)) as old:
        assert (version(old), old.execute("SELECT x FROM a").fetchall()) == (1, [(";",)])


@pytest.mark.parametrize(
    "broken",
    [
        "CREATE TABLE c (x); CREATE TABLE",
        "CREATE TABLE a (x);",
        "CREATE TABLE c (x); CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1;",
    ],
)
def test_a_step_that_fails_leaves_the_file_as_it_was(path, file, broken):
    migrate(file, path, [FIRST])

    with pytest.raises(sqlite3.Error):
        migrate(file, path, [FIRST, TRIGGER, broken])

    assert version(file) == 1
    assert file.execute("SELECT name FROM sqlite_master").fetchall() == [("a",)]


def test_a_file_of_a_newer_program_is_refused_with_both_versions(path, file):
    migrate(file, path, [FIRST, TRIGGER])

    with pytest.raises(TooNewError) as refused:
        migrate(file, path, [FIRST])

    assert refused.value.args == (2, 1)


def test_a_reader_makes_no_file(path):
    with pytest.raises(sqlite3.Error):
        sqlite_file.connect(path, timeout_s=1, writes=False)

    assert not path.exists()


def test_what_is_committed_is_on_disk(path, file):
    sqlite_file.make_durable(file)

    assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert file.execute("PRAGMA synchronous").fetchone() == (2,)
