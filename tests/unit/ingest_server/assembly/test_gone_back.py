"""A database that has lost what was committed to it is told apart from one that has not."""

import shutil
import sqlite3
import threading
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from ingest_server.assembly.data_folder import open_state
from ingest_server.assembly.restoring import restore
from ingest_server.core.errors import ServerError, StateLostError
from tests.support.core_site import CoreSite

BESIDE = ("state.db", "state.db-wal", "state.db-shm", "state.db.commits")


def killed(site, folder):
    """Return what a program that is killed at this moment leaves."""
    shutil.copytree(site.data_dir, folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    """A young data folder, killed: what is not in the log is in an older copy beside it."""
    site = CoreSite(tmp_path / "data")
    site.upload(b"first", "first.mp4")
    shutil.copytree(site.data_dir, tmp_path / "older")
    site.upload(b"second", "second.mp4")
    found = killed(site, tmp_path / "killed")
    site.stop()
    assert (found / "state.db-wal").stat().st_size > 0
    return found


def names(folder):
    with closing(open_state(folder)) as state:
        return sorted(one.name for one in state.receipts())


def lose_log(folder):
    (folder / "state.db-wal").unlink()


def lose_log_and_index(folder):
    for end in ("-wal", "-shm"):
        (folder / f"state.db{end}").unlink()


def empty_log(folder):
    (folder / "state.db-wal").write_bytes(b"")


def cut_log(folder):
    log = folder / "state.db-wal"
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size // 2)


def damage_log(folder):
    log = folder / "state.db-wal"
    with log.open("r+b") as file:
        file.seek(log.stat().st_size // 2)
        file.write(b"\xa5" * 64)


def put_older(folder):
    for name in BESIDE[:3]:
        (folder / name).unlink()
        shutil.copy(folder.parent / "older" / name, folder / name)


def put_older_without_its_log(folder):
    lose_log_and_index(folder)
    shutil.copy(folder.parent / "older" / "state.db", folder / "state.db")


FAULTS = [
    lose_log,
    lose_log_and_index,
    empty_log,
    cut_log,
    damage_log,
    put_older,
    put_older_without_its_log,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_database_that_has_gone_back_is_one_sentence_and_stays_as_it_is(folder, fault):
    fault(folder)
    before = {
        one.name: one.read_bytes() for one in folder.glob("state.db*") if one.suffix != ".db-shm"
    }

    with pytest.raises(StateLostError, match="has gone back") as caught:
        open_state(folder)

    assert "ingest-server restore" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert before == {name: (folder / name).read_bytes() for name in before}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_it_still_knows_is_gone_on_with_where_no_copy_knows_more(folder, fault):
    fault(folder)
    log = folder / "state.db-wal"
    left = log.read_bytes() if log.exists() else b""

    state, origin = restore(folder, None, begins_empty=False)
    state.close()

    assert origin == f"what {folder / 'state.db'} itself still knows"
    assert "second.mp4" not in names(folder)
    if left:
        assert (folder / "state.db.damaged-1-wal").read_bytes() == left
    site = CoreSite(folder)
    site.upload(b"second", "second.mp4")
    site.stop()
    assert "second.mp4" in names(folder)


def test_a_copy_that_knows_more_takes_its_place(tmp_path):
    site = CoreSite(tmp_path / "data")
    site.upload(b"first", "first.mp4")
    site.housekeeper.keep_copy()
    folder = killed(site, tmp_path / "killed")
    site.stop()
    lose_log(folder)

    state, origin = restore(folder, None, begins_empty=False)
    state.close()

    assert origin.startswith(str(folder / "state.db.copy-1"))
    assert names(folder) == ["first.mp4"]
    assert (folder / "state.db.damaged-1").exists()


def test_an_older_one_gives_way_to_a_copy_that_is_named(folder):
    put_older_without_its_log(folder)
    with closing(sqlite3.connect(folder.parent / "older" / "state.db")) as older:
        older.execute("VACUUM INTO ?", (str(folder / "own.db"),))

    state, origin = restore(folder, folder / "own.db", begins_empty=False)
    state.close()

    assert origin.startswith(str(folder / "own.db"))
    assert names(folder) == ["first.mp4"]


def test_the_index_of_the_log_is_made_again_by_itself(folder):
    (folder / "state.db-shm").unlink()

    assert names(folder) == ["first.mp4", "second.mp4"]


@pytest.mark.parametrize("left", ["gone", "empty"])
def test_the_notes_alone_tell_that_there_was_a_database(tmp_path, left):
    with closing(open_state(tmp_path)) as state:
        state.begin_run()
    (tmp_path / "state.db").unlink()
    if left == "empty":
        (tmp_path / "state.db").touch()

    with pytest.raises(StateLostError, match=r"state\.db\.commits is there"):
        open_state(tmp_path)


def test_who_reads_beside_a_server_that_commits_never_takes_it_for_older(tmp_path):
    with closing(open_state(tmp_path)) as state:
        state.begin_run()
        done = threading.Event()

        def commit():
            while not done.is_set():
                state.begin_run()

        thread = threading.Thread(target=commit)
        thread.start()
        try:
            for _ in range(30):
                open_state(tmp_path).close()
        finally:
            done.set()
            thread.join()


def test_a_job_that_changes_nothing_is_no_commit_and_costs_no_sync(tmp_path):
    with closing(open_state(tmp_path)) as state:
        state.begin_run()
        before = (tmp_path / "state.db.commits").read_bytes(), state.sizes().log

        state.run(lambda transaction: transaction.rows("SELECT 1"))

        assert ((tmp_path / "state.db.commits").read_bytes(), state.sizes().log) == before


@pytest.mark.parametrize("torn", [b"", b"\0" * 42, b"00000000000000000299 00000000000000000199\n"])
def test_notes_that_nobody_can_read_accuse_nobody(folder, torn):
    (folder / "state.db.commits").write_bytes(torn)

    assert names(folder) == ["first.mp4", "second.mp4"]


def test_notes_that_cannot_be_written_stop_no_upload(tmp_path):
    (tmp_path / "data" / "state.db.commits").mkdir(parents=True)

    with capture_logs() as logs:
        site = CoreSite(tmp_path / "data")
        receipt = site.upload(b"first", "first.mp4")
        site.stop()

    assert receipt.published_as.endswith("/first.mp4")
    assert [one["event"] for one in logs].count("database.uncounted") == 1


def test_one_that_has_not_gone_back_is_never_replaced(folder):
    with pytest.raises(ServerError, match="nothing to restore"):
        restore(folder, None, begins_empty=False)
