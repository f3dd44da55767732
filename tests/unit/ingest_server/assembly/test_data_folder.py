"""A database is never begun anew beside what it knew; a copy takes its place on request only."""

import sqlite3
from contextlib import closing

import pytest

from edge_host.clock import SystemClock
from ingest_server.assembly.data_folder import open_state
from ingest_server.assembly.restoring import restore
from ingest_server.core.errors import ServerError, StateLostError
from ingest_server.core.record import State
from tests.support.core_site import CoreSite


@pytest.fixture
def folder(tmp_path):
    """A data folder in which two files were published, the second after the copy was made."""
    site = CoreSite(tmp_path / "data")
    site.upload(b"first", "first.mp4")
    site.housekeeper.keep_copy()
    site.upload(b"second", "second.mp4")
    site.stop()
    return site.data_dir


def remove(folder):
    for one in folder.glob("state.db*"):
        if "copy" not in one.name:
            one.unlink()


def truncate(folder):
    (folder / "state.db").write_bytes(b"")


def cut(folder):
    with (folder / "state.db").open("r+b") as file:
        file.truncate(10_000)


def overwrite_head(folder):
    with (folder / "state.db").open("r+b") as file:
        file.write(b"\0" * 4096)


def overwrite_middle(folder):
    """What the head says stays right: only who reads the database through can know."""
    size = (folder / "state.db").stat().st_size
    with (folder / "state.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def of_no_table(folder):
    remove(folder)
    with closing(sqlite3.connect(folder / "state.db")) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("DROP TABLE t")


FAULTS = [remove, truncate, cut, overwrite_head, overwrite_middle, of_no_table]


def opened(folder):
    state = open_state(folder)
    try:
        state.check(SystemClock().now_s)
    finally:
        state.close()


def names(folder):
    state = open_state(folder)
    try:
        return sorted(one.name for one in state.receipts())
    finally:
        state.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_database_that_is_gone_or_damaged_is_one_sentence_with_the_way_out(folder, fault):
    fault(folder)

    with pytest.raises(StateLostError) as caught:
        opened(folder)

    assert "ingest-server restore" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(folder / "state.db") in str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_newest_copy_takes_its_place_and_what_was_there_is_kept(folder, fault):
    fault(folder)
    damaged = (folder / "state.db").read_bytes() if (folder / "state.db").exists() else None

    state, origin = restore(folder, None, begins_empty=False)
    state.close()

    assert origin.startswith(str(folder / "state.db.copy-1"))
    assert names(folder) == ["first.mp4"]
    if damaged is not None:
        assert (folder / "state.db.damaged-1").read_bytes() == damaged
    opened(folder)
    site = CoreSite(folder)
    again = site.upload(b"second", "second.mp4")
    assert sorted(site.published().values()) == [b"first", b"second"]
    assert again.published_as.endswith("/second.mp4")
    site.stop()


@pytest.mark.parametrize("left", ["parts", "published", "quarantine", "state.db-wal", "copy"])
def test_each_thing_that_a_database_knew_keeps_a_new_one_from_being_made(tmp_path, left):
    if left in {"state.db-wal", "copy"}:
        (tmp_path / left.replace("copy", "state.db.copy-3")).write_bytes(b"x")
    else:
        (tmp_path / left).mkdir()
        (tmp_path / left / "something").write_bytes(b"x")

    with pytest.raises(StateLostError, match="is gone"):
        open_state(tmp_path)

    assert not (tmp_path / "state.db").exists()


def test_a_folder_where_nothing_was_ever_stored_gets_a_database(tmp_path):
    for name in ("parts", "published", "lost+found", "published/lost+found"):
        (tmp_path / name).mkdir()
    (tmp_path / "state.db").touch()  # the very first start was killed

    opened(tmp_path)


def test_a_database_that_can_be_read_is_never_replaced(folder):
    with pytest.raises(ServerError, match="nothing to restore"):
        restore(folder, None, begins_empty=True)

    assert names(folder) == ["first.mp4", "second.mp4"]


def test_nothing_is_restored_beside_a_running_server(tmp_path):
    site = CoreSite(tmp_path)
    remove(tmp_path)

    with pytest.raises(ServerError, match="another ingest-server"):
        restore(tmp_path, None, begins_empty=True)

    site.stop()


def test_a_damaged_copy_is_passed_by(folder):
    (folder / "state.db.copy-2").write_bytes((folder / "state.db.copy-1").read_bytes())
    (folder / "state.db.copy-1").write_bytes(b"rotten" * 1000)
    remove(folder)

    state, origin = restore(folder, None, begins_empty=False)
    state.close()

    assert origin == str(folder / "state.db.copy-2")


@pytest.mark.parametrize("content", [None, b"", b"no database" * 1000])
def test_a_copy_that_was_named_and_cannot_be_used_changes_nothing(folder, tmp_path, content):
    truncate(folder)
    copy = tmp_path / "own copy.db"
    if content is not None:
        copy.write_bytes(content)

    with pytest.raises(ServerError, match="cannot be used"):
        restore(folder, copy, begins_empty=False)

    assert (folder / "state.db").read_bytes() == b""
    assert not list(folder.glob("state.db.restoring*"))


def test_without_a_copy_one_begins_empty_only_when_told_to(folder):
    (folder / "state.db.copy-1").unlink()
    truncate(folder)
    with pytest.raises(ServerError, match="restore --empty"):
        restore(folder, None, begins_empty=False)

    state, _ = restore(folder, None, begins_empty=True)
    state.close()

    assert names(folder) == []
    site = CoreSite(folder)
    site.upload(b"second", "second.mp4")  # found again, not published twice
    assert sorted(site.published().values()) == [b"first", b"second"]
    site.stop()


@pytest.mark.slow
def test_a_crash_while_restoring_leaves_what_can_be_restored_again(folder):
    (folder / "state.db").rename(folder / "state.db.damaged-1")
    (folder / "state.db-wal").write_bytes(b"of the old one")
    (folder / "state.db.restoring").write_bytes(b"half a co")
    with pytest.raises(StateLostError):
        open_state(folder)

    state, _ = restore(folder, None, begins_empty=False)
    state.close()

    assert names(folder) == ["first.mp4"]
    assert (folder / "state.db.damaged-2-wal").read_bytes() == b"of the old one"


@pytest.fixture
def cut_off(tmp_path):
    """A database as a power cut leaves it in the midst of its very first transaction."""
    made, folder = tmp_path / "made", tmp_path / "folder"
    made.mkdir()
    folder.mkdir()
    with closing(sqlite3.connect(made / "state.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 3000,)] * 100)
        for name in ("state.db", "state.db-wal"):
            (folder / name).write_bytes((made / name).read_bytes())
    assert (folder / "state.db").stat().st_size > 0
    assert (folder / "state.db-wal").stat().st_size > 0
    return folder


def test_a_power_cut_in_the_first_transaction_of_all_is_gone_on_from(cut_off):
    state = open_state(cut_off)

    assert state.in_states(State.OPEN) == []
    state.close()


@pytest.mark.parametrize("fault", [remove, truncate])
def test_a_log_whose_database_is_gone_is_what_it_knew(cut_off, fault):
    log = (cut_off / "state.db-wal").read_bytes()
    fault(cut_off)
    (cut_off / "state.db-wal").write_bytes(log)

    with pytest.raises(StateLostError, match=r"state\.db-wal is there"):
        open_state(cut_off)


def test_what_was_told_is_in_the_database_itself_once_it_is_made(tmp_path):
    """So that a log that is lost, beside one that was never filled, has told nobody anything."""
    state = open_state(tmp_path)
    made = (tmp_path / "state.db").read_bytes()
    state.close()

    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "state.db").write_bytes(made)
    with closing(sqlite3.connect(tmp_path / "alone" / "state.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] > 0
