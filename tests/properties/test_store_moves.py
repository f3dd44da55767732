"""Whatever moves are made and wherever the power fails, the store tells one story."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.base.errors import StaleRecordingError
from edge_agent.core.recording import Found, Identity
from edge_agent.core.upload import TRANSITIONS, Event, IllegalTransitionError, State
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store
from tests.support.clock import VirtualClock
from tests.support.examples import examples

steps = st.lists(
    st.one_of(
        st.tuples(st.just("move"), st.integers(0, 2), st.sampled_from(Event)),
        st.tuples(st.just("update"), st.integers(0, 2), st.integers(0, 9)),
        st.tuples(st.just("restart"), st.just(0), st.none()),
    ),
    max_size=40,
)


def open_store(path):
    return Store.open(path, clock=VirtualClock(), boot_id="boot")


@settings(max_examples=examples(40), deadline=None)
@given(steps)
def test_the_store_agrees_with_a_dictionary_through_restarts(run):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "agent.db")
        store = open_store(path)
        ids = [
            one.id
            for one in store.add(
                [Found(b"/m/%d" % n, "", str(n), Identity(1, n, n, 2, 3)) for n in range(3)]
            )
        ]
        states = dict.fromkeys(ids, State.SEEN)
        failures = dict.fromkeys(ids, 0)
        told = 0
        for what, which, value in run:
            key = ids[which]
            if what == "restart":
                store.close()
                store = open_store(path)
            elif what == "update":
                store.update(store.get(key), failures=value)
                failures[key] = value
            else:
                try:
                    store.advance(store.get(key), value, tell=[NewEvent("moved", {"to": value})])
                except (StaleRecordingError, IllegalTransitionError):
                    assert (states[key], value) not in TRANSITIONS
                    continue
                states[key] = TRANSITIONS[states[key], value]
                told += 1

        assert {one.id: one.state for one in store.in_states(*State)} == states
        assert {one.id: one.failures for one in store.in_states(*State)} == failures
        assert len(store.outbox.undelivered(limit=1000)) == told
        in_order = [one.seq for one in store.outbox.undelivered(limit=1000)]
        assert in_order == sorted(set(in_order))
        expected = {state: list(states.values()).count(state) for state in states.values()}
        assert {state: files for state, (files, _) in store.counts.by_state().items()} == expected
        store.close()
