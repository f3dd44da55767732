"""The state is looked at rarely, and told when it is worth a message."""

from edge_agent.report.state_pace import StatePace
from edge_agent.report.timing import Timing

TIMING = Timing(min_gap_s=2.0, look_gap_s=0.5, interval_s=30.0)
IDLE, BUSY = {"state": "idle"}, {"state": "uploading"}


def looked(pace, state, now_s):
    """Look as the reporter does; return whether the state was told."""
    pace.begin_look(now_s)
    if is_due := pace.is_due(state, now_s):
        pace.told(state, now_s)
    return is_due


def test_the_first_state_is_told_at_once_and_the_next_look_is_that_of_the_clock():
    pace = StatePace(TIMING)

    assert pace.look_wait_s(100.0) == 0
    assert looked(pace, BUSY, 100.0)
    assert pace.look_wait_s(101.0) == 29.0


def test_a_change_is_looked_at_after_the_gap_between_two_looks():
    pace = StatePace(TIMING)
    looked(pace, BUSY, 100.0)

    pace.changed()

    assert pace.look_wait_s(100.25) == 0.25
    assert pace.look_wait_s(100.5) == 0


def test_a_change_too_soon_after_the_last_message_is_told_when_its_time_has_come():
    pace = StatePace(TIMING)
    looked(pace, BUSY, 100.0)
    pace.changed()

    assert not looked(pace, IDLE, 100.5)
    assert pace.look_wait_s(100.5) == 1.5
    assert looked(pace, IDLE, 102.0)


def test_a_new_session_has_been_told_nothing():
    pace = StatePace(TIMING)
    looked(pace, BUSY, 100.0)

    pace.forget()

    assert pace.look_wait_s(101.0) == 0
    assert looked(pace, BUSY, 101.0)
