"""The agent's memory of recordings: what survives, and what is refused."""

import sqlite3
from contextlib import closing

import pytest

from edge_agent.base.errors import StaleRecordingError
from edge_agent.core.recording import Identity
from edge_agent.core.upload import TRANSITIONS, Event, IllegalTransitionError, State
from edge_agent.store.database import Database
from edge_agent.store.moves import Move
from edge_agent.store.outbox import NewEvent
from edge_agent.store.schema import MIGRATIONS
from tests.support.agent_store import CLOCK, found, open_store, statements
from tests.support.commits import commits_in_log
from tests.support.present import present
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

RECEIPT = Receipt(
    "0" * 32, "cam", "a.mp4", 1, Digest.of(b"x"), "2026-11-21T00:00:00Z", "client", "cam/a.mp4"
)


def test_everything_of_a_recording_comes_back_after_a_restart(path, store):
    (seen,) = store.add([found(b"caf\xe9\n.mp4", inode=2**64 - 1)])
    stable = store.advance(seen, Event.SETTLED)
    sending = store.advance(
        stable, Event.UPLOAD_CREATED, idempotency_key="k" * 32, upload_id="0" * 32
    )
    sent = store.advance(sending, Event.ALL_ACKNOWLEDGED, digest=Digest.of(b"x"), resent_bytes=5)
    verified = store.advance(
        sent, Event.RECEIPT_STORED, receipt=RECEIPT, verified_at="2026-11-21T00:00:00Z", failures=3
    )
    store.close()

    again = open_store(path)
    assert again.get(verified.id) == verified
    assert present(again.get(verified.id)).path == b"/media/caf\xe9\n.mp4"
    again.close()


def test_an_event_is_in_the_outbox_exactly_when_its_move_is_made(store):
    (seen,) = store.add([found()])

    with pytest.raises(StaleRecordingError):
        store.advance(seen, Event.RECEIPT_STORED, tell=[NewEvent("file.completed", {})])
    assert store.outbox.undelivered() == []

    store.advance(seen, Event.SETTLED, tell=[NewEvent("file.discovered", {"name": "a"})])
    (event,) = store.outbox.undelivered()
    assert (event.type, event.data, event.boot_id) == ("file.discovered", {"name": "a"}, "boot")


ONE_WAY = {
    State.SEEN: [],
    State.GROWING: [Event.GREW],
    State.STABLE: [Event.SETTLED],
    State.SENDING: [Event.SETTLED, Event.UPLOAD_CREATED],
    State.SENT: [Event.SETTLED, Event.UPLOAD_CREATED, Event.ALL_ACKNOWLEDGED],
}
ONE_WAY[State.VERIFIED] = [*ONE_WAY[State.SENT], Event.RECEIPT_STORED]
ONE_WAY[State.RELEASED] = [*ONE_WAY[State.VERIFIED], Event.DELETED]
ONE_WAY[State.KEPT] = [*ONE_WAY[State.VERIFIED], Event.KEEPING]
ONE_WAY[State.FAILED] = [Event.REJECTED]
ONE_WAY[State.OVERWRITTEN] = [Event.SOURCE_OVERWRITTEN]


@pytest.mark.parametrize("state", list(State))
def test_who_names_a_recording_that_another_has_moved_on_is_told_so_whatever_was_decided(
    store, state
):
    (recording,) = store.add([found()])
    for event in ONE_WAY[state]:
        recording = store.advance(recording, event)
    late = [event for event in Event if (state, event) not in TRANSITIONS]

    for event in late:
        with pytest.raises(StaleRecordingError):
            store.advance(recording, event)
    assert store.advance_all([Move(recording, event) for event in late]) == []
    assert store.get(recording.id) == recording


def test_who_says_the_same_again_of_the_same_state_has_a_bug(store):
    (seen,) = store.add([found()])
    with pytest.raises(StaleRecordingError):
        store.advance(seen, Event.DELETED)

    with pytest.raises(IllegalTransitionError):
        store.advance(seen, Event.DELETED)


def test_a_transaction_that_fails_leaves_nothing_behind(store):
    (seen,) = store.add([found()])

    with pytest.raises(TypeError):
        store.advance(seen, Event.SETTLED, tell=[NewEvent("x", {"not": object()})])

    assert store.get(seen.id).state is State.SEEN
    assert store.outbox.undelivered() == []


def test_the_upload_of_what_was_overwritten_is_given_up_when_the_recording_is_forgotten(store):
    seen = store.add([found(b"%d.mp4" % n, inode=n) for n in range(1002)])
    first, second, *others = seen
    for one, upload_id in ((first, "a" * 32), (second, None)):
        stable = store.advance(one, Event.SETTLED)
        sending = store.advance(stable, Event.UPLOAD_CREATED, upload_id=upload_id)
        store.advance(sending, Event.SOURCE_OVERWRITTEN)
    store.advance_all([Move(one, Event.SOURCE_OVERWRITTEN) for one in others[:998]])
    before = (store.numbered(first.seq).upload_id, store.given_up.next())
    store.advance_all([Move(one, Event.SOURCE_OVERWRITTEN) for one in others[998:]])

    assert before == ("a" * 32, None)
    assert [store.numbered(one.seq) for one in (first, second)] == [None, None]
    assert store.given_up.next() == "a" * 32
    store.given_up.forget("a" * 32)
    assert store.given_up.next() is None


def test_a_move_from_a_state_that_is_past_is_refused(store):
    (seen,) = store.add([found()])
    store.advance(seen, Event.SETTLED)

    with pytest.raises(StaleRecordingError):
        store.advance(seen, Event.SETTLED)


def test_a_receipt_for_the_bytes_of_before_is_refused(store):
    def sent(recording, digest):
        stable = store.advance(recording, Event.SETTLED)
        sending = store.advance(stable, Event.UPLOAD_CREATED, upload_id="0" * 32)
        return store.advance(sending, Event.ALL_ACKNOWLEDGED, digest=digest)

    (seen,) = store.add([found()])
    first = sent(seen, Digest.of(b"x"))
    rewritten = store.advance(first, Event.SOURCE_CHANGED, digest=None)
    second = sent(rewritten, Digest.of(b"y"))

    with pytest.raises(StaleRecordingError):
        store.advance(first, Event.RECEIPT_STORED, receipt=RECEIPT)

    assert store.get(second.id) == second


def test_a_write_leaves_what_another_worker_wrote_meanwhile(store):
    (seen,) = store.add([found()])
    store.update(seen, name="renamed.mp4")

    store.update(seen, failures=1)

    now = store.get(seen.id)
    assert (now.name, now.failures) == ("renamed.mp4", 1)


def test_what_waits_is_counted_when_a_database_of_the_first_version_is_opened(path):
    old = Database.open(path, MIGRATIONS[:1], now=CLOCK.now_utc())
    with old.transaction() as run:
        run.executemany(
            "INSERT INTO recording (id, path, folder, name, device, inode, length, mtime_ns,"
            " ctime_ns, state, origin, seen_at) VALUES (?, x'2f', '', '', 1, '1', ?, 1, 1, ?, '', '')",
            [("a", 5, "stable"), ("b", 7, "stable"), ("c", 11, "failed")],
        )
    old.close()

    store = open_store(path)

    assert store.counts.by_state() == {State.STABLE: (2, 12), State.FAILED: (1, 11)}
    store.close()


def test_files_and_bytes_are_counted_through_growth_and_moves(store):
    first, second = store.add([found(b"a"), found(b"b")])
    store.advance(first, Event.SETTLED)
    store.update(second, identity=Identity(1, 7, length=10, mtime_ns=2, ctime_ns=3))
    assert store.counts.by_state() == {State.STABLE: (1, 1), State.SEEN: (1, 10)}


def test_a_move_writes_no_index_whose_columns_it_leaves_alone(store, database):
    (seen,) = store.add([found()])

    with statements(database) as asked:
        store.advance(seen, Event.SETTLED)

    (update,) = {sql for sql in asked if sql.startswith("UPDATE recording")}
    assert "path" not in update
    assert "inode" not in update


@pytest.mark.slow
def test_old_released_recordings_are_forgotten_and_nothing_else_by_the_commit_of_a_newer_one(
    path, store
):
    store.add([found(inode=1)])
    verified = store.add([found(inode=n) for n in range(1005)])
    for event in (
        Event.SETTLED,
        Event.UPLOAD_CREATED,
        Event.ALL_ACKNOWLEDGED,
        Event.RECEIPT_STORED,
    ):
        verified = store.advance_all([Move(one, event) for one in verified])
    store.advance_all([Move(one, Event.DELETED) for one in verified[:1000]])
    store.close()
    again = open_store(path)
    assert (again.counts.by_state()[State.RELEASED][0], commits_in_log(path)) == (1000, 0)

    for one in verified[1000:]:
        again.advance(one, Event.DELETED)

    assert commits_in_log(path) == 5
    assert again.counts.by_state() == {State.SEEN: (1, 1), State.RELEASED: (1000, 1000)}
    assert [again.numbered(one.seq) is None for one in verified] == [True] * 5 + [False] * 1000
    again.close()


def test_what_may_be_uploaded_has_its_key_and_another_one_when_that_is_given_up(store):
    (seen,) = store.add([found()])
    assert seen.idempotency_key is None

    ready = store.advance(seen, Event.SETTLED)
    again = store.update(ready, idempotency_key=None)

    assert [len(one.idempotency_key) for one in (ready, again)] == [32, 32]
    assert ready.idempotency_key != again.idempotency_key
    assert store.get(seen.id) == again
    assert store.update(again, failures=1).idempotency_key == again.idempotency_key


def test_what_an_earlier_version_settled_is_given_its_key_before_the_request(path, store):
    (seen,) = store.add([found()])
    ready = store.advance(seen, Event.SETTLED)
    store.close()
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("UPDATE recording SET idempotency_key = NULL")
    again = open_store(path)

    key = again.give_key(ready)

    assert present(again.get(seen.id)).idempotency_key == key
    again.close()
