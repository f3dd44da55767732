"""What every state store has to do; one implementation so far."""

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace

import pytest

from ingest_server.core.errors import Refused, StateError, StateFailed, StateTooNewError
from ingest_server.core.record import State, UploadRecord
from ingest_server.storage.group_commit import Committer
from ingest_server.storage.sqlite.schema import MIGRATIONS, VERSION
from ingest_server.storage.sqlite.transactions import SqliteState
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt
from upload_protocol.ranges import ByteRange, RangeSet

DIGEST = Digest.of(b"x")
RECORD = UploadRecord(
    id="0" * 32,
    device="cam",
    key="key",
    name="nul \0 crlf \r\n quote ' \" é \U0001f3a5",
    folder="a/b",
    created_at="2026-11-21T10:00:00Z",
    length=10,
    digest=DIGEST,
    modified_at="2026-11-21T09:00:00Z",
    media_type="video/mp4",
    metadata={"a\ud800": "\0"},
    received=RangeSet([ByteRange(1, 3), ByteRange(5, 2**62)]),
    touched_s=1.5,
    target="cam/x",
    receipt=Receipt("0" * 32, "cam", "x", 10, DIGEST, "t", "client", "cam/x"),
)


@pytest.fixture
def state(tmp_path):
    state = SqliteState.open(tmp_path / "state.db")
    yield state
    state.close()


@pytest.fixture
def committer(state):
    committer = Committer(state.open_writer())
    committer.start()
    yield committer
    committer.stop()


def get(state, upload_id=RECORD.id):
    with state.reading() as queries:
        return queries.get(upload_id)


def test_a_record_comes_back_as_it_went_in(state, committer):
    committer.run(lambda transaction: transaction.insert(RECORD))

    assert get(state) == RECORD
    with state.reading() as queries:
        assert queries.by_key("cam", "key") == RECORD
        assert queries.by_key("cam", "other") is None


def test_saving_changes_what_may_change(state, committer):
    committer.run(lambda transaction: transaction.insert(RECORD))
    changed = replace(
        RECORD, length=11, digest=None, state=State.COMPLETE, received=RangeSet(), touched_s=2.0
    )

    committer.run(lambda transaction: transaction.save(changed))

    assert get(state) == changed


def test_a_job_that_fails_spoils_no_other(state, committer):
    gate = threading.Event()
    first = committer.submit(lambda _: gate.wait(10))

    def fail(transaction):
        transaction.insert(RECORD)
        raise Refused("not-open", "no")

    good = replace(RECORD, id="1" * 32, key="1")
    jobs = [
        committer.submit(fail),
        committer.submit(lambda transaction: transaction.insert(good)),
        committer.submit(lambda transaction: transaction.insert(good)),  # id is there already
    ]
    gate.set()

    assert first.result(10)
    with pytest.raises(Refused, match="not-open"):
        jobs[0].result(10)
    jobs[1].result(10)
    with pytest.raises(StateFailed):
        jobs[2].result(10)
    assert get(state) is None
    assert get(state, good.id) == good


def test_what_waits_is_committed_together(committer):
    gate = threading.Event()
    committer.submit(lambda _: gate.wait(10))
    jobs = [committer.submit(lambda _, n=n: n) for n in range(50)]
    gate.set()

    assert [job.result(10) for job in jobs] == list(range(50))
    assert committer.commits <= 2


def whose_thread(_transaction):
    return threading.get_ident()


def test_a_job_that_is_alone_runs_in_its_own_thread(committer):
    assert committer.run(whose_thread) == threading.get_ident()
    assert committer.run(whose_thread) == threading.get_ident()


def test_after_a_crowd_a_job_waits_for_others_once(committer):
    running, gate = threading.Event(), threading.Event()

    def first(_transaction):
        running.set()
        return gate.wait(10)

    committer.submit(first)
    assert running.wait(10)
    jobs = [committer.submit(whose_thread) for _ in range(5)]  # the next transaction
    gate.set()
    committers_thread = {job.result(10) for job in jobs}

    assert {committer.run(whose_thread)} == committers_thread
    assert committer.run(whose_thread) == threading.get_ident()


def test_a_job_in_its_own_thread_keeps_all_others_off_the_connection(committer):
    running, gate = threading.Event(), threading.Event()

    def first(_transaction):
        running.set()
        return gate.wait(10)

    with ThreadPoolExecutor(3) as pool:
        alone = pool.submit(committer.run, first)
        assert running.wait(10)
        others = [pool.submit(committer.run, lambda _: gate.is_set()) for _ in range(2)]
        queued = committer.submit(lambda _: gate.is_set())
        assert not wait([*others, queued], timeout=0.1).done
        gate.set()

        assert alone.result(10)
        assert all(job.result(10) for job in [*others, queued])


def test_a_stop_waits_for_a_job_in_its_own_thread(state):
    committer = Committer(state.open_writer())
    committer.start()
    running, gate = threading.Event(), threading.Event()

    def insert(transaction):
        running.set()
        gate.wait(10)
        transaction.insert(RECORD)

    with ThreadPoolExecutor(2) as pool:
        inserting = pool.submit(committer.run, insert)
        assert running.wait(10)
        stopping = pool.submit(committer.stop)
        assert not wait([stopping], timeout=0.1).done
        gate.set()

        stopping.result(10)
        inserting.result(10)
    assert get(state) == RECORD
    with pytest.raises(Refused, match="stopping"):
        committer.run(whose_thread)


def test_nothing_is_acknowledged_when_the_commit_fails(state):
    writer = state.open_writer()

    class FailsToCommit:
        transaction = writer.transaction
        begin, rollback, savepoint, close = (
            writer.begin,
            writer.rollback,
            writer.savepoint,
            writer.close,
        )
        in_transaction = True

        def commit(self):
            raise StateFailed("storage-full", "full")

    committer = Committer(FailsToCommit())
    committer.start()

    with pytest.raises(StateFailed):
        committer.run(lambda transaction: transaction.insert(RECORD))

    assert get(state) is None
    committer.stop()


def test_a_lost_transaction_fails_all_its_jobs(state):
    committer = Committer(state.open_writer())
    gate = threading.Event()
    committer.start()
    committer.submit(lambda _: gate.wait(10))

    def lose(transaction):  # what SQLite does by itself on a full disk
        transaction._connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk is full")

    jobs = [
        committer.submit(lambda transaction: transaction.insert(RECORD)),
        committer.submit(lose),
        committer.submit(lambda _: None),
    ]
    gate.set()

    for job in jobs:
        with pytest.raises(StateFailed):
            job.result(10)
    assert get(state) is None
    committer.run(lambda transaction: transaction.insert(RECORD))
    committer.stop()


def test_after_stop_jobs_are_refused_and_earlier_ones_are_stored(state):
    committer = Committer(state.open_writer())
    committer.start()
    job = committer.submit(lambda transaction: transaction.insert(RECORD))

    committer.stop()

    job.result(0)
    assert get(state) == RECORD
    with pytest.raises(Refused, match="stopping"):
        committer.submit(lambda _: None)


def test_pages_follow_each_other_and_know_their_device(state, committer):
    for number in range(5):
        record = replace(
            RECORD, id=f"{number}" * 32, key=str(number), device="cam" if number % 2 else "other"
        )
        committer.run(lambda transaction, record=record: transaction.insert(record))

    with state.reading() as queries:
        first = queries.page(device=None, state=None, after=None, limit=3)
        second = queries.page(device=None, state="open", after=first[-1].id, limit=3)
        own = queries.page(device="cam", state="open", after=None, limit=9)

        assert [one.id[0] for one in first + second] == list("01234")
        assert [one.id[0] for one in own] == ["1", "3"]
        assert queries.open_count("cam") == 2
        assert queries.page(device=None, state="complete", after=None, limit=9) == []


def test_ended_uploads_are_forgotten_after_their_time(state, committer):
    for number, ended in enumerate([State.EXPIRED, State.ABORTED, State.COMPLETE, State.OPEN]):
        record = replace(RECORD, id=f"{number}" * 32, key=str(number), state=ended, touched_s=5.0)
        committer.run(lambda transaction, record=record: transaction.insert(record))

    assert committer.run(lambda transaction: transaction.forget_ended(5.0)) == 0
    assert committer.run(lambda transaction: transaction.forget_ended(5.1)) == 2


def test_tokens_are_added_found_and_revoked(state):
    state.add_token("cam", b"h1", "t1", "2026", ("upload",), expires_at="2027")
    state.add_token("cam", b"h2", "t2", "2026", ())
    state.add_token("dog", b"h3", "t3", "2026", ())
    state.touch_token("t1", "2026-11-21T10:00:00Z")

    found = state.find_token(b"h1")
    assert found is not None
    assert (found.device, found.scopes, found.expires_at) == ("cam", ("upload",), "2027")
    assert found.last_used_at == "2026-11-21T10:00:00Z"
    assert state.find_token(b"nobody") is None
    assert [token.token_id for token in state.tokens()] == ["t1", "t2", "t3"]
    assert state.revoke("t3") == 1
    assert state.revoke("cam") == 2
    assert state.revoke("cam") == 0
    assert state.tokens() == []


def test_a_token_of_another_process_is_found_at_once(state, tmp_path):
    program = (
        "import sys; from pathlib import Path\n"
        "from ingest_server.storage.sqlite.transactions import SqliteState\n"
        "state = SqliteState.open(Path(sys.argv[1]))\n"
        "state.add_token('cam', b'hash', 't1', '2026', ())\n"
        "state.close()\n"
    )
    assert state.find_token(b"hash") is None

    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "state.db")], check=True, timeout=30
    )

    assert state.find_token(b"hash") is not None


def test_a_reader_works_beside_a_writer_and_writes_nothing(state, committer, tmp_path):
    committer.run(lambda transaction: transaction.insert(RECORD))
    reader = SqliteState.open(tmp_path / "state.db", read_only=True)

    assert get(reader) == RECORD
    with pytest.raises(StateFailed):
        reader.add_token("cam", b"h", "t", "2026", ())

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

    with pytest.raises(StateError, match="cannot open the database"):
        SqliteState.open(tmp_path / "state.db")


def test_strangers_cannot_read_the_database(tmp_path):
    state = SqliteState.open(tmp_path / "odd ?#% name" / "state.db")
    state.add_token("cam", b"h", "t", "2026", ())

    modes = {path.stat().st_mode & 0o007 for path in (tmp_path / "odd ?#% name").iterdir()}

    state.close()
    assert modes == {0}
