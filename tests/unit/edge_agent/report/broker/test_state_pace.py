"""The state is looked at rarely, and told when it is worth a message."""

from typing import Any

from edge_agent.report.broker.state_pace import StatePace
from edge_agent.report.payloads import encode
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


def told_in_four_hours(state_of):
    pace, now_s = StatePace(TIMING), 0.0
    told: list[Any] = []
    while now_s < 4 * 3600:
        pace.changed()
        now_s += max(0.5, pace.look_wait_s(now_s))
        state = state_of(len(told))
        if looked(pace, state, now_s):
            told.append((now_s, len(encode(state)) + 128))
    return told


def most_in_an_hour(told):
    return max(
        sum(size for when_s, size in told if start_s <= when_s < start_s + 3600)
        for start_s in range(0, 3 * 3600 + 1, 300)
    )


def test_on_a_metered_link_no_hour_has_more_bytes_than_its_limit_however_much_changes():
    def small_files(number):
        current = {"file_id": f"{number}", "percent": 0.0, "name": "x" * 900}
        return {"state": "uploading", "current": current, "link": {"metered": True}}

    def flapping(number):
        return {"state": f"{number}", "current": None, "link": {"metered": True}, "a": "x" * 900}

    assert most_in_an_hour(told_in_four_hours(small_files)) <= 200_000 + 1200
    assert most_in_an_hour(told_in_four_hours(flapping)) <= 20_000 + 1200


def test_without_a_meter_each_change_is_told_at_once():
    pace = StatePace(TIMING)
    told = [looked(pace, {"state": f"{number}"}, 10.0 * number) for number in range(1000)]

    assert all(told)


def test_a_metered_state_that_is_due_by_the_clock_is_told_though_the_budget_is_used_up():
    pace = StatePace(TIMING)
    huge = {"link": {"metered": True}, "a": "x" * 15_000}
    assert looked(pace, {"state": "1", **huge}, 0.0)

    assert not looked(pace, {"state": "2", **huge}, 899.0)
    assert looked(pace, {"state": "2", **huge}, 900.0)
