"""What the state table promises, over every path through it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.upload import (
    FINAL,
    PENDING,
    TRANSITIONS,
    Event,
    IllegalTransitionError,
    State,
    advance,
)

WITH_BYTES_SENT = (State.STABLE, State.SENDING, State.SENT)


def reachable(start):
    found = {start}
    frontier = [start]
    while frontier:
        state = frontier.pop()
        for (before, _), after in TRANSITIONS.items():
            if before is state and after not in found:
                found.add(after)
                frontier.append(after)
    return found


@given(st.lists(st.sampled_from(Event), max_size=40))
def test_nothing_is_let_go_without_a_receipt(events):
    state, has_receipt = State.SEEN, False
    for event in events:
        try:
            state = advance(state, event)
        except IllegalTransitionError:
            continue
        has_receipt = has_receipt or event is Event.RECEIPT_STORED
        if state in {State.RELEASED, State.KEPT, State.VERIFIED}:
            assert has_receipt


def test_a_recording_is_deleted_from_verified_only():
    assert {before for before, event in TRANSITIONS if event is Event.DELETED} == {State.VERIFIED}
    assert {before for (before, _), after in TRANSITIONS.items() if after is State.RELEASED} == {
        State.VERIFIED
    }


@pytest.mark.parametrize("state", sorted(set(State) - FINAL))
def test_from_every_state_that_is_not_final_a_recording_can_still_be_verified_or_let_go(state):
    assert reachable(state) & FINAL


@pytest.mark.parametrize("state", sorted(PENDING))
def test_every_pending_state_can_give_up_for_a_person(state):
    assert State.FAILED in {after for (before, _), after in TRANSITIONS.items() if before is state}


@pytest.mark.parametrize("state", WITH_BYTES_SENT)
def test_a_changed_source_starts_over_whatever_was_sent(state):
    assert advance(state, Event.SOURCE_CHANGED) is State.SEEN


@pytest.mark.parametrize("event", [Event.SOURCE_VANISHED, Event.SOURCE_OVERWRITTEN])
def test_what_the_server_has_whole_is_not_given_up_for_its_file(event):
    assert (State.SENT, event) not in TRANSITIONS


@pytest.mark.parametrize("state", sorted(FINAL))
def test_nothing_leads_out_of_a_final_state(state):
    assert reachable(state) == {state}


@given(st.sampled_from(State), st.sampled_from(Event))
def test_what_the_table_does_not_say_is_an_error_that_names_both(state, event):
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
        return
    with pytest.raises(IllegalTransitionError, match=f"{state}.*{event}"):
        advance(state, event)
