"""The SQLite file itself: opened, migrated, refused, and used by several processes."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest

from ingest_server.auth.tokens import issue
from ingest_server.core.errors import StateError, StateFailed, StateTooNewError
from ingest_server.core.record import UploadRecord
from ingest_server.storage.interface import TokenRecord
from ingest_server.storage.sqlite.schema import MIGRATIONS, VERSION
from ingest_server.storage.sqlite.transactions import SqliteState
from tests.support.small_disk import small_disk
from upload_protocol.ranges import ByteRange

RECORD = UploadRecord("0" * 32, "cam", "key", "a.mp4", "", "2026-11-21T10:00:00Z")
NOW = datetime(2026, 11, 21, tzinfo=UTC)
TOKEN = TokenRecord("t1", "cam", b"hash", "2026", ())


@pytest.fixture
def state(tmp_path):
    state = SqliteState.open(tmp_path / "state.db")
    yield state
    state.close()


def test_epochs_grow_over_restarts_though_nothing_was_recorded(state, tmp_path):
    state.run(lambda rows: rows.insert(RECORD))
    state.begin_run()
    claims = [state.claim(RECORD.id, ByteRange(0, 1))[0] for _ in range(3)]
    state.close()

    again = SqliteState.open(tmp_path / "state.db")
    again.begin_run()

    assert again.claim(RECORD.id, ByteRange(0, 1))[0].epoch > claims[-1].epoch
    again.close()


def test_a_token_of_another_process_is_found_at_once(state, tmp_path):
    program = (
        "import sys; from pathlib import Path\n"
        "from ingest_server.storage.interface import TokenRecord\n"
        "from ingest_server.storage.sqlite.transactions import SqliteState\n"
        "state = SqliteState.open(Path(sys.argv[1]))\n"
        "state.access.add_token(TokenRecord('t1', 'cam', b'hash', '2026', ()))\n"
        "state.close()\n"
    )
    assert state.access.find_token(b"hash") is None

    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "state.db")], check=True, timeout=30
    )

    assert state.access.find_token(b"hash") is not None


def test_a_reader_works_beside_a_writer_and_writes_nothing(state, tmp_path):
    state.run(lambda transaction: transaction.insert(RECORD))
    reader = SqliteState.open(tmp_path / "state.db", read_only=True)

    assert reader.get(RECORD.id) == RECORD
    with pytest.raises(StateFailed):
        reader.access.add_token(TOKEN)

    reader.close()


def test_a_newer_database_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "state.db"
    SqliteState.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")

    with pytest.raises(StateTooNewError, match="newer version of ingest-server") as caught:
        SqliteState.open(path)

    assert "\n" not in str(caught.value)


def test_an_older_database_is_copied_and_then_migrated_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "state.db"
    SqliteState.open(path).close()
    steps = (*MIGRATIONS, "CREATE TABLE more (a); CREATE TABLE broken (")
    monkeypatch.setattr("ingest_server.storage.sqlite.transactions.MIGRATIONS", steps)
    monkeypatch.setattr("ingest_server.storage.sqlite.transactions.VERSION", VERSION + 1)

    with pytest.raises(StateError, match="cannot open"):
        SqliteState.open(path)
    assert tables(path) == tables(tmp_path / f"state.db.v{VERSION}.backup")
    assert "more" not in tables(path)

    steps = (*MIGRATIONS, "CREATE TABLE more (a)")
    monkeypatch.setattr("ingest_server.storage.sqlite.transactions.MIGRATIONS", steps)
    SqliteState.open(path).close()
    assert "more" in tables(path)


def tables(path):
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}


def test_no_database_is_made_for_a_reader(tmp_path):
    with pytest.raises(StateError):
        SqliteState.open(tmp_path / "none" / "state.db", read_only=True)

    assert not (tmp_path / "none").exists()


def test_a_file_that_is_no_database_is_one_sentence(tmp_path):
    (tmp_path / "state.db").write_bytes(b"this is not a database at all" * 100)

    with pytest.raises(StateError, match="is damaged"):
        SqliteState.open(tmp_path / "state.db")


def test_strangers_cannot_read_the_database(tmp_path):
    state = SqliteState.open(tmp_path / "odd ?#% name" / "state.db")
    state.access.add_token(TOKEN)

    modes = {path.stat().st_mode & 0o007 for path in (tmp_path / "odd ?#% name").iterdir()}

    state.close()
    assert modes == {0}


def test_on_a_disk_without_a_byte_left_the_log_is_written_over(tmp_path):
    """So that tokens can be revoked there, whoever took the room that was kept for that."""
    tokens = [issue(f"cam-{number}", NOW).record for number in range(9)]
    with (
        small_disk(tmp_path / "disk", size="20m") as disk,
        closing(SqliteState.open(disk.path / "state.db")) as state,
    ):
        for one in tokens:
            state.access.add_token(one)
        assert not (disk.path / "reserve").exists()
        disk.fill()

        revoked = [state.access.revoke(one.device) for one in tokens[:5]]

        left = [one.device for one in state.access.tokens()]
    assert revoked == [1] * 5
    assert left == [f"cam-{number}" for number in range(5, 9)]
