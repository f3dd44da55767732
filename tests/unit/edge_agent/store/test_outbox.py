"""Events that wait for the broker: numbered, bounded, counted."""

import sqlite3

import pytest

from edge_agent.core.upload import Event
from edge_agent.store import outbox
from edge_agent.store.moves import Move
from edge_agent.store.outbox import NewEvent
from tests.support.agent_store import found, open_store, statements


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


def test_what_waits_is_not_counted_again_at_every_event(store, database):
    with statements(database) as executed:
        for number in range(200):
            store.outbox.tell(NewEvent("file.discovered", {"number": number}))

    assert sum("INSERT INTO event" in one for one in executed) == 200
    assert sum("sum(length" in one for one in executed) == 1


def test_whoever_reads_it_is_told_of_an_event_once_it_is_on_disk_whatever_wrote_it(path, store):
    read_elsewhere = sqlite3.connect(path)
    told = []

    def read():
        told.append(read_elsewhere.execute("SELECT count(*) FROM event").fetchone()[0])

    store.outbox.on_written = read
    event = NewEvent("file.completed", {})
    (seen,) = store.add([found()])

    store.outbox.tell(event, event)
    store.advance_all([Move(seen, Event.GREW, tell=[event])])
    growing = store.get(seen.id)
    store.advance(growing, Event.SETTLED, tell=[event])
    store.update(growing, failures=1, tell=[event])
    store.update(growing, failures=2)
    with pytest.raises(TypeError):
        store.outbox.tell(event, NewEvent("no JSON", {"not": object()}))
    store.update(growing, failures=3)

    assert told == [2, 3, 4, 5]
    read_elsewhere.close()
