"""Events in flight, over a real outbox."""

import pytest

from edge_agent.base.clock import SystemClock
from edge_agent.base.errors import StoreError
from edge_agent.report.broker.event_delivery import WINDOW, EventDelivery
from edge_agent.report.broker.heard import PACKET_TOO_LARGE
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store
from tests.support.agent_store import statements, store_over


@pytest.fixture
def opened(tmp_path):
    one, database = store_over(tmp_path / "state.db", SystemClock())
    one.outbox.tell(*(NewEvent("file.completed", {"n": n}) for n in range(30)))
    yield one, database
    one.close()


@pytest.fixture
def store(opened):
    return opened[0]


@pytest.fixture
def flow(store):
    return EventDelivery(store.outbox)


def send(flow: EventDelivery, room: int = 100, now_s: float = 0.0) -> list[int]:
    """Publish what is due; a packet id is a hundred times the number of its event."""
    due = flow.due(room)
    for event in due:
        flow.sent(event.seq * 100, event, now_s)
    return [event.seq for event in due]


def left(store: Store) -> list[int]:
    return [event.seq for event in store.outbox.undelivered(limit=100)]


def test_no_more_than_the_window_is_in_flight_and_in_order(flow):
    assert send(flow) == list(range(1, WINDOW + 1))
    assert send(flow) == []


def test_no_more_than_the_broker_takes_is_in_flight(flow):
    assert send(flow, room=3) == [1, 2, 3]


def test_an_acknowledgement_makes_room_for_the_next(flow, store):
    send(flow)
    flow.acknowledged(500, None)

    assert send(flow) == [21]


def test_what_the_broker_acknowledged_is_written_down_in_batches(flow, opened):
    """Each commit costs a card two flushes; a thousand events were a thousand of them."""
    store, database = opened

    with statements(database) as executed:
        in_flight = send(flow)
        while in_flight:
            flow.acknowledged(in_flight.pop(0) * 100, None)
            in_flight += send(flow)

    assert left(store) == []
    assert 0 < executed.count("COMMIT") <= 30 / (WINDOW // 2) + 1


def test_a_lone_event_is_forgotten_at_once(flow, store):
    send(flow, room=1)
    flow.acknowledged(100, None)
    send(flow, room=1)

    assert 1 not in left(store)


def test_a_refused_event_stays_in_the_store_and_out_of_the_way(flow, store):
    send(flow, room=2)
    flow.acknowledged(100, "not authorised")
    flow.flush()

    assert left(store)[0] == 2
    assert store.outbox.retry_refused() == 1
    assert left(store)[0] == 1


def test_an_acknowledgement_of_something_else_is_not_ours(flow):
    send(flow, room=1)

    assert not flow.acknowledged(7, None)
    assert flow.in_flight == 1


def test_what_was_in_flight_is_sent_again_in_the_next_session(flow):
    send(flow)
    flow.acknowledged(200, None)
    flow.session_ended(0, now_s=60.0)

    assert send(flow, room=3) == [1, 3, 4]


def test_an_answer_that_cannot_be_written_down_stops_the_sending_and_is_kept(flow, store, tmp_path):
    send(flow, room=2)
    flow.acknowledged(100, None)
    store.close()

    with pytest.raises(StoreError):
        flow.due(10)

    again = Store.open(tmp_path / "state.db", clock=SystemClock(), boot_id="b")
    flow.outbox = again.outbox
    assert [event.seq for event in flow.due(2)] == [3, 4]
    flow.session_ended(0, now_s=60.0)
    assert [event.seq for event in flow.due(2)] == [2, 3]
    again.close()


def test_a_message_over_the_brokers_limit_is_found_and_set_aside(flow, store):
    send(flow)
    assert flow.session_ended(PACKET_TOO_LARGE, now_s=1.0) is None
    assert send(flow) == [1], "one at a time, to see which one it is"

    told = flow.session_ended(PACKET_TOO_LARGE, now_s=2.0)

    assert told == "event 1 was set aside: too large"
    for seq in range(2, WINDOW + 1):
        assert send(flow) == [seq]
        flow.acknowledged(seq * 100, None)
    assert len(send(flow)) == 10, "beyond what was in flight then, all is as before"


def test_a_link_that_breaks_now_and_then_sets_nothing_aside(flow):
    for round_ in range(20):
        send(flow, now_s=100.0 * round_)
        assert flow.session_ended(0, now_s=100.0 * round_ + 30.0) is None

    assert flow.window == WINDOW


def test_an_acknowledgement_ends_the_suspicion(flow):
    for round_ in range(20):
        first = send(flow, now_s=float(round_))[0]
        flow.acknowledged(first * 100, None)
        assert flow.session_ended(0, now_s=round_ + 0.1) is None
