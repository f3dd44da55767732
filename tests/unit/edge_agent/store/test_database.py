"""The state database as a file: what it needs, what is refused, what is set aside."""

import os
import sqlite3
import stat

import pytest

from edge_agent.base.errors import StoreError, StoreTooNewError
from edge_agent.core.upload import Event, State
from edge_agent.store.database import Database
from edge_agent.store.recordings import Store
from edge_agent.store.reserve import Reserve
from edge_agent.store.schema import MIGRATIONS, SCHEMA_VERSION
from tests.support.agent_store import CLOCK, found, open_store
from tests.support.small_disk import small_disk


def test_the_file_is_for_its_owner_only(path, store):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_commit_is_synced(database):
    with database.reading() as run:
        assert run.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert run.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_newer_database_is_refused_in_one_sentence_and_left_alone(path):
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StoreTooNewError, match="newer edge-agent") as caught:
        open_store(path)

    assert "\n" not in str(caught.value)
    assert path.read_bytes()[96:100] == before[96:100]
    assert [one.name for one in path.parent.iterdir() if "damaged" in one.name] == []


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["garbage", "torn"])
def test_a_damaged_database_is_moved_aside_and_made_anew(path, damage):
    first = open_store(path)
    first.add([found(inode=n) for n in range(2000)])
    first.close()
    if damage == "garbage":
        path.write_bytes(os.urandom(8192))
    else:
        content = bytearray(path.read_bytes())
        content[4096 * 3 : 4096 * 9] = os.urandom(4096 * 6)
        path.write_bytes(content)

    again = open_store(path)

    assert again.counts.by_state() == {}
    assert again.moved_aside is not None
    assert again.moved_aside.exists()
    again.add([found()])
    again.close()


def test_a_folder_that_is_not_there_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(StoreError, match=r"nowhere/agent\.db cannot be opened"):
        open_store(tmp_path / "nowhere" / "agent.db")


def test_a_folder_in_its_place_is_an_error_that_says_what_to_do(path):
    path.mkdir()

    with pytest.raises(
        StoreError,
        match=r"unable to open .*; nothing is sent before it can be, .* or move it aside",
    ):
        open_store(path)


@pytest.mark.parametrize("content", [bytes(range(256)) * 160, b""], ids=["damaged", "gone"])
def test_a_database_that_is_no_more_is_made_anew_on_a_full_disk_with_what_was_held_back(
    tmp_path, content
):
    with small_disk(tmp_path / "state", size="24m") as disk:
        first = Reserve(disk.path)
        first.take()
        path = disk.path / "agent.db"
        path.write_bytes(content)
        disk.fill()
        with pytest.raises(StoreError, match=r"cannot be .*: .*(full|I/O)"):
            Store.open(path, clock=CLOCK, boot_id="boot", reserve=None)
        for left in disk.path.glob("agent.db*"):
            left.unlink()
        path.write_bytes(content)
        disk.fill()

        store = Store.open(path, clock=CLOCK, boot_id="boot", reserve=Reserve(disk.path))

        assert store.is_durable
        store.add([found()])
        assert len(list(disk.path.glob("agent.db.damaged-*"))) == bool(content)
        store.close()


def test_an_older_database_is_copied_before_it_is_migrated(path):
    old = ("CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1);",)
    Database.open(path, old, now=CLOCK.now_utc()).close()

    new = Database.open(path, (*old, "CREATE TABLE b (y INTEGER) STRICT;"), now=CLOCK.now_utc())

    with new.reading() as run:
        assert run.execute("SELECT x FROM a").fetchall() == [(1,)]
        assert run.execute("SELECT y FROM b").fetchall() == []
        assert run.execute("PRAGMA user_version").fetchone() == (2,)
    new.close()
    copy = path.with_name("agent.db.v1")
    connection = sqlite3.connect(copy)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT x FROM a").fetchall() == [(1,)]
    connection.close()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_a_migration_that_fails_leaves_the_old_schema(path):
    old = ("CREATE TABLE a (x INTEGER) STRICT;",)
    Database.open(path, old, now=CLOCK.now_utc()).close()

    with pytest.raises(StoreError, match="cannot be prepared"):
        Database.open(
            path,
            (*old, "CREATE TABLE b (y INTEGER); CREATE TABLE a (z TEXT);"),
            now=CLOCK.now_utc(),
        )

    again = Database.open(path, old, now=CLOCK.now_utc())
    with again.reading() as run:
        assert run.execute("SELECT name FROM sqlite_master").fetchall() == [("a",)]
    again.close()


def test_a_new_database_needs_no_copy(path, store):
    assert sorted(one.name for one in path.parent.iterdir() if ".v" in one.name) == []
    assert len(MIGRATIONS) == SCHEMA_VERSION


def test_a_full_disk_is_a_store_error_and_keeps_the_old_state(store, database):
    (seen,) = store.add([found()])
    with database.reading() as run:
        (pages,) = run.execute("PRAGMA page_count").fetchone()
        run.execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(StoreError, match=r"cannot be written.*full"):
        store.add([found(inode=n) for n in range(1000)])

    assert store.counts.by_state() == {State.SEEN: (1, 1)}
    assert store.get(seen.id) == seen


def test_beside_a_writer_it_can_be_read_and_not_written(path, store):
    (seen,) = store.add([found()])
    reader = Store.open_read_only(path, clock=CLOCK, boot_id="boot")

    assert reader.get(seen.id) == seen
    with pytest.raises(StoreError):
        reader.advance(seen, Event.SETTLED)
    reader.close()
