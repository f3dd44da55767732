"""The agent's memory: what survives, what is refused, what is bounded."""

import os
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace

import pytest

from edge_agent.base.errors import StaleRecordingError, StoreError, StoreTooNewError
from edge_agent.core.recording import Found, Identity
from edge_agent.core.upload import PENDING, Event, IllegalTransitionError, State
from edge_agent.store import outbox
from edge_agent.store.database import Database
from edge_agent.store.notes import Totals
from edge_agent.store.recordings import Move, NewEvent, Store
from edge_agent.store.schema import MIGRATIONS, SCHEMA_VERSION
from tests.support.agent_store import plans, statements, store_over
from tests.support.clock import VirtualClock
from tests.support.commits import commits_in_log
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

CLOCK = VirtualClock()
RECEIPT = Receipt(
    "0" * 32, "cam", "a.mp4", 1, Digest.of(b"x"), "2026-11-21T00:00:00Z", "client", "cam/a.mp4"
)


def open_store(path):
    return Store.open(path, clock=CLOCK, boot_id="boot")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agent.db"


@pytest.fixture
def opened(path):
    store, database = store_over(path, CLOCK)
    yield store, database
    store.close()


@pytest.fixture
def store(opened):
    return opened[0]


@pytest.fixture
def database(opened):
    return opened[1]


def found(name=b"a.mp4", inode=7, **more):
    identity = Identity(device=1, inode=inode, length=1, mtime_ns=2, ctime_ns=3)
    return Found(path=b"/media/" + name, folder="", name="a.mp4", identity=identity, **more)


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
    assert again.get(verified.id).path == b"/media/caf\xe9\n.mp4"
    again.close()


def test_an_event_is_in_the_outbox_exactly_when_its_move_is_made(store):
    (seen,) = store.add([found()])

    with pytest.raises(IllegalTransitionError):
        store.advance(seen, Event.RECEIPT_STORED, tell=[NewEvent("file.completed", {})])
    assert store.outbox.undelivered() == []

    store.advance(seen, Event.SETTLED, tell=[NewEvent("file.discovered", {"name": "a"})])
    (event,) = store.outbox.undelivered()
    assert (event.type, event.data, event.boot_id) == ("file.discovered", {"name": "a"}, "boot")


def test_a_transaction_that_fails_leaves_nothing_behind(store):
    (seen,) = store.add([found()])

    with pytest.raises(TypeError):
        store.advance(seen, Event.SETTLED, tell=[NewEvent("x", {"not": object()})])

    assert store.get(seen.id).state is State.SEEN
    assert store.outbox.undelivered() == []


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


def test_the_file_is_for_its_owner_only(path, store):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_commit_is_synced(database):
    with database.reading() as run:
        assert run.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert run.execute("PRAGMA synchronous").fetchone() == (2,)


# --- files that are not as they should be ---------------------------------------------------


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

    assert again.counts() == {}
    assert again.moved_aside is not None
    assert again.moved_aside.exists()
    again.add([found()])
    again.close()


def test_a_folder_that_is_not_there_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(StoreError, match=r"nowhere/agent\.db cannot be opened"):
        open_store(tmp_path / "nowhere" / "agent.db")


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

    assert store.counts() == {State.STABLE: (2, 12), State.FAILED: (1, 11)}
    store.close()


def test_files_and_bytes_are_counted_through_growth_and_moves(store):
    first, second = store.add([found(b"a"), found(b"b")])
    store.advance(first, Event.SETTLED)
    store.update(second, identity=Identity(1, 7, length=10, mtime_ns=2, ctime_ns=3))
    assert store.counts() == {State.STABLE: (1, 1), State.SEEN: (1, 10)}


def test_a_page_of_the_queue_is_read_by_index_and_nothing_is_sorted_but_that_page(store, database):
    """A queue of 100 000 was sorted for each look at its first recording."""
    with statements(database) as asked:
        store.in_states(*PENDING, after_seq=5, limit=3)
        store.latest(State.VERIFIED, State.KEPT, limit=3)
        store.counts()

    on_recordings = [step for step in plans(database, asked) if "recording" in step]
    assert len(on_recordings) == len(PENDING) + 2
    assert all("USING INDEX recording_by_state (state=?" in step for step in on_recordings)


def test_a_page_of_several_states_is_in_order_and_complete(store):
    all_of_them = store.add([found(b"%d" % number) for number in range(7)])
    for one in all_of_them[::2]:
        store.advance(one, Event.SETTLED)
    numbers = [one.seq for one in all_of_them]

    def seqs(rows):
        return [one.seq for one in rows]

    assert seqs(store.in_states(*PENDING)) == numbers
    assert seqs(store.in_states(*PENDING, after_seq=numbers[1], limit=3)) == numbers[2:5]
    assert seqs(store.latest(*PENDING, limit=3)) == numbers[:3:-1]
    assert [seq for seq, _, _ in store.places(*PENDING, after_seq=numbers[4], limit=9)] == (
        numbers[5:]
    )
    assert seqs(store.in_states(State.STABLE)) == numbers[::2]


def test_pages_of_what_is_due_are_in_the_order_of_sending_and_complete(store):
    store.priority_of = lambda _folder, name: int(name) % 3
    all_of_them = store.add(
        [replace(found(b"%d" % number), name=str(number)) for number in range(20)]
    )
    for one in all_of_them[::2]:
        store.advance(one, Event.SETTLED)
    wanted = sorted(all_of_them, key=lambda one: (-one.priority, one.seq))

    def walked(**limits):
        after, rows = None, []
        while page := store.due(*PENDING, after=after, limit=3, **limits):
            rows += page
            after = page[-1]
        return [one.seq for one in rows]

    assert walked() == [one.seq for one in wanted]
    assert walked(at_least=2) == [one.seq for one in wanted if one.priority == 2]
    assert walked(at_least=3) == []


def test_what_is_due_is_found_by_index_and_nothing_is_sorted_but_a_page(store, database):
    with statements(database) as asked:
        store.due(State.STABLE, State.SENDING, limit=3)

    on_recordings = [step for step in plans(database, asked) if "recording" in step]
    assert len(on_recordings) == 4
    assert all("USING INDEX recording_" in step and "state=?" in step for step in on_recordings)
    assert any("recording_ahead" in step for step in on_recordings)


def test_a_move_writes_no_index_whose_columns_it_leaves_alone(store, database):
    (seen,) = store.add([found()])

    with statements(database) as asked:
        store.advance(seen, Event.SETTLED)

    (update,) = {sql for sql in asked if sql.startswith("UPDATE recording")}
    assert "path" not in update
    assert "inode" not in update


def test_a_full_disk_is_a_store_error_and_keeps_the_old_state(store, database):
    (seen,) = store.add([found()])
    with database.reading() as run:
        (pages,) = run.execute("PRAGMA page_count").fetchone()
        run.execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(StoreError, match=r"cannot be written.*full"):
        store.add([found(inode=n) for n in range(1000)])

    assert store.counts() == {State.SEEN: (1, 1)}
    assert store.get(seen.id) == seen


def test_beside_a_writer_it_can_be_read_and_not_written(path, store):
    (seen,) = store.add([found()])
    reader = Store.open_read_only(path, clock=CLOCK)

    assert reader.get(seen.id) == seen
    with pytest.raises(StoreError):
        reader.advance(seen, Event.SETTLED)
    reader.close()


# --- what would grow ------------------------------------------------------------------------


def test_a_full_outbox_drops_low_events_first_and_says_so(store, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_EVENTS", 20)
    for n in range(10):
        store.outbox.tell(
            NewEvent("file.completed", {"n": n}), NewEvent("file.started", {}, is_low=True)
        )

    store.outbox.tell(NewEvent("file.completed", {"n": 10}))

    kept = store.outbox.undelivered(limit=100)
    assert [one.data["n"] for one in kept if one.type == "file.completed"] == list(range(11))
    (dropped,) = [one for one in kept if one.type == "spool.dropped"]
    assert dropped.data["count"] == 2


def test_an_outbox_that_nobody_empties_stays_bounded(store, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_EVENTS", 50)

    for n in range(500):
        store.outbox.tell(NewEvent("file.completed", {"n": n}))

    kept = store.outbox.undelivered(limit=100)
    assert len(kept) <= 51
    assert kept[-1].data == {"n": 499}
    (note,) = [one.data for one in kept if one.type == "spool.dropped"]
    assert note["count"] == 500 - (len(kept) - 1)


def test_event_numbers_rise_for_ever_though_events_are_delivered(path, store):
    store.outbox.tell(NewEvent("a", {}), NewEvent("b", {}))
    last = store.outbox.undelivered()[-1].seq
    for one in store.outbox.undelivered():
        store.outbox.settle({one.seq: None})
    store.close()

    again = open_store(path)
    again.outbox.tell(NewEvent("c", {}))
    assert again.outbox.undelivered()[0].seq > last
    again.close()


def test_a_refused_event_lets_the_next_ones_go_and_can_be_offered_again(store):
    store.outbox.tell(NewEvent("a", {}), NewEvent("b", {}))
    first, second = store.outbox.undelivered()

    store.outbox.settle({first.seq: "not authorized"})

    assert store.outbox.undelivered() == [second]
    assert store.outbox.retry_refused() == 1
    assert store.outbox.undelivered() == [first, second]


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
    assert (again.counts()[State.RELEASED][0], commits_in_log(path)) == (1000, 0)

    for one in verified[1000:]:
        again.advance(one, Event.DELETED)

    assert commits_in_log(path) == 5
    assert again.counts() == {State.SEEN: (1, 1), State.RELEASED: (1000, 1000)}
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

    assert again.get(seen.id).idempotency_key == key
    again.close()


def test_a_view_of_a_few_recordings_tells_these_alone_and_shares_the_rest(store):
    store.priority_of = lambda folder, name: 5
    one, other, last = store.add([found(b"a"), found(b"b"), found(b"c")])

    view = store.only({one.id, last.id})

    assert view.in_states(*State) == [one, last]
    assert view.in_states(State.SEEN, after_seq=one.seq, limit=5) == [last]
    assert view.due(State.SEEN, after=one, at_least=9, limit=5) == [last]
    assert view.get(other.id) == other
    assert view.advance(one, Event.SETTLED, tell=[NewEvent("a", {})]) == store.get(one.id)
    assert [event.type for event in store.outbox.undelivered()] == ["a"]


def test_totals_count_verified_and_failed_recordings_for_life(path, store):
    good, bad = store.add([found(), found(inode=8)])
    for event in (
        Event.SETTLED,
        Event.UPLOAD_CREATED,
        Event.ALL_ACKNOWLEDGED,
        Event.RECEIPT_STORED,
    ):
        good = store.advance(good, event, verified_at="2026-11-21T00:00:00Z")
    store.advance(bad, Event.REJECTED, sent=4, resent=1)
    store.notes.count_sent(sent=6, resent=2)
    store.close()

    again = open_store(path)
    totals = again.notes.totals()
    assert (totals.files_verified, totals.files_failed) == (1, 1)
    assert (totals.bytes_sent, totals.bytes_resent) == (10, 3)
    again.close()


def test_a_counter_that_only_another_version_keeps_is_passed_over(store):
    store.notes.put("totals", {"files_verified": 2, "bytes_verified": 10, "moons": 1})

    assert store.notes.totals() == Totals(files_verified=2)


def test_what_waits_is_not_counted_again_at_every_event(store, database):
    with statements(database) as executed:
        for number in range(200):
            store.outbox.tell(NewEvent("file.discovered", {"number": number}))

    assert sum("INSERT INTO event" in one for one in executed) == 200
    assert sum("sum(length" in one for one in executed) == 1
