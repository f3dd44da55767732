"""Group commit: one connection, one transaction for all that waits, and nobody told too early."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import pytest

from ingest_server.core.errors import Refused, StateFailed
from ingest_server.core.record import UploadRecord
from ingest_server.storage.claims import Claims
from ingest_server.storage.group_commit import Committer
from ingest_server.storage.sqlite.commit_count import CommitNotes
from ingest_server.storage.sqlite.transactions import SqliteState
from ingest_server.storage.sqlite.writer import SqliteWriter

RECORD = UploadRecord("0" * 32, "cam", "key", "a.mp4", "", "2026-11-21T10:00:00Z")


@pytest.fixture
def state(tmp_path):
    state = SqliteState.open(tmp_path / "state.db")
    yield state
    state.close()


@pytest.fixture
def writer(state):
    connection = sqlite3.connect(state.path, isolation_level=None, check_same_thread=False)
    return SqliteWriter(connection, Claims(), CommitNotes(state.path))


@pytest.fixture
def committer(writer):
    committer = Committer(writer)
    yield committer
    committer.stop()


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
    assert state.find(RECORD.id) is None
    assert state.find(good.id) == good


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


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Refused("superseded", "a newer one"), Refused),
        (sqlite3.OperationalError("no"), StateFailed),
    ],
)
def test_of_a_job_that_is_alone_and_fails_nothing_stays(state, committer, error, told):
    def fail(transaction):
        transaction.insert(RECORD)
        raise error

    with pytest.raises(told):
        committer.run(fail)

    assert state.find(RECORD.id) is None
    committer.run(lambda transaction: transaction.insert(RECORD))
    assert state.find(RECORD.id) == RECORD


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


def test_a_stop_waits_for_a_job_in_its_own_thread(state, committer):
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
    assert state.find(RECORD.id) == RECORD
    with pytest.raises(Refused, match="stopping"):
        committer.run(whose_thread)


def test_nothing_is_acknowledged_when_the_commit_fails(state, writer):
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

    with pytest.raises(StateFailed):
        committer.run(lambda transaction: transaction.insert(RECORD))

    assert state.find(RECORD.id) is None
    committer.stop()


def test_a_lost_transaction_fails_all_its_jobs(state, committer):
    gate = threading.Event()
    committer.submit(lambda _: gate.wait(10))

    def lose(transaction):  # what SQLite does by itself on a full disk
        transaction.write("ROLLBACK")
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
    assert state.find(RECORD.id) is None
    committer.run(lambda transaction: transaction.insert(RECORD))


def test_after_stop_jobs_are_refused_and_earlier_ones_are_stored(state, committer):
    job = committer.submit(lambda transaction: transaction.insert(RECORD))

    committer.stop()

    job.result(0)
    assert state.find(RECORD.id) == RECORD
    with pytest.raises(Refused, match="stopping"):
        committer.submit(lambda _: None)
