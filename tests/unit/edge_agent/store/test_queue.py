"""Which recordings come next: in order, page by page, by index."""

from dataclasses import replace

import pytest

from edge_agent.core.recording import Brief
from edge_agent.core.upload import PENDING, Event, State
from edge_agent.store.outbox import NewEvent
from tests.support.agent_store import found, plans, statements


def test_a_page_of_the_queue_is_read_by_index_and_nothing_is_sorted_but_that_page(store, database):
    """A queue of 100 000 was sorted for each look at its first recording."""
    with statements(database) as asked:
        store.in_states(*PENDING, after_seq=5, limit=3)
        store.latest(State.VERIFIED, State.KEPT, limit=3)
        store.briefs.page(*PENDING, after_seq=5, limit=3)
        store.counts.by_state()

    on_recordings = [step for step in plans(database, asked) if "recording" in step]
    assert len(on_recordings) == 2 * len(PENDING) + 2
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
    assert [seq for seq, *_ in store.places(*PENDING, after_seq=numbers[4], limit=9)] == (
        numbers[5:]
    )
    assert seqs(store.in_states(State.STABLE)) == numbers[::2]


def test_a_page_of_briefs_is_the_same_page_with_what_rules_ask_of_it(store):
    all_of_them = store.add([found(b"%d" % number, watch="front") for number in range(7)])
    for one in all_of_them[::2]:
        store.advance(one, Event.SETTLED)

    page = store.briefs.page(*PENDING, after_seq=all_of_them[1].seq, limit=3)

    assert [one._asdict() | {"place": one.place} for one in page] == [
        {name: getattr(one, name) for name in (*Brief._fields, "place")}
        for one in store.in_states(*PENDING, after_seq=all_of_them[1].seq, limit=3)
    ]
    assert len(page) == 3


@pytest.mark.parametrize("sign", [1, -1], ids=["oldest first", "newest first"])
def test_pages_of_what_is_due_are_in_the_order_of_sending_and_complete(store, sign):
    store.priority_of = lambda one: int(one.name) % 3
    all_of_them = store.add(
        [replace(found(b"%d" % number), name=str(number)) for number in range(20)]
    )
    for one in all_of_them[::2]:
        store.advance(one, Event.SETTLED)
    wanted = sorted(all_of_them, key=lambda one: (-one.priority, sign * one.seq))
    store.send_newest_first(sign < 0)

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


def test_a_view_of_a_few_recordings_tells_these_alone_and_shares_the_rest(store):
    store.priority_of = lambda _: 5
    one, other, last = store.add([found(b"a"), found(b"b"), found(b"c")])

    view = store.only({one.id, last.id})

    assert view.in_states(*State) == [one, last]
    assert view.in_states(State.SEEN, after_seq=one.seq, limit=5) == [last]
    assert view.due(State.SEEN, after=one, at_least=9, limit=5) == [last]
    assert view.get(other.id) == other
    assert view.advance(one, Event.SETTLED, tell=[NewEvent("a", {})]) == store.get(one.id)
    assert [event.type for event in store.outbox.undelivered()] == ["a"]
