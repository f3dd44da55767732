"""When something is told."""

from typing import Any

import pytest

from edge_agent.report.timing import Timing, reconnect_wait_s, state_wait_s

TIMING = Timing()
UPLOADING: dict[str, Any] = {
    "state": "uploading",
    "blocked_by": None,
    "paused": False,
    "problems": [],
    "queue": {"files": 2, "bytes": 10, "failed": 0},
    "current": {"file_id": "a", "percent": 40.0},
    "totals": {"files_done": 3},
    "link": {"metered": None},
}
IDLE = {**UPLOADING, "state": "idle", "current": None}


def test_the_first_state_of_a_session_goes_at_once():
    assert state_wait_s(None, IDLE, age_s=0.0, timing=TIMING) == 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"state": "blocked"},
        {"blocked_by": "link"},
        {"paused": True},
        {"problems": ["disk_low"]},
        {"current": {"file_id": "b", "percent": 0.0}},
        {"current": None},
        {"current": {"file_id": "a", "percent": 45.0}},
        {"queue": {"files": 2, "bytes": 10, "failed": 1}},
        {"totals": {"files_done": 4}},
    ],
)
def test_what_a_person_would_act_on_goes_at_once_but_not_twice_in_two_seconds(change):
    now = {**UPLOADING, **change}

    assert state_wait_s(UPLOADING, now, age_s=2.0, timing=TIMING) == 0.0
    assert state_wait_s(UPLOADING, now, age_s=0.5, timing=TIMING) == 1.5


@pytest.mark.parametrize(
    "change",
    [
        {"rate_bytes_per_s": 5},
        {"current": {"file_id": "a", "percent": 44.9}},
        {"queue": {"files": 3, "bytes": 12, "failed": 0}},
    ],
)
def test_a_mere_reading_waits_for_the_interval(change):
    assert state_wait_s(UPLOADING, {**UPLOADING, **change}, age_s=10.0, timing=TIMING) == 20.0


@pytest.mark.parametrize(
    ("state", "is_metered", "interval_s"),
    [("uploading", False, 30), ("idle", False, 300), ("uploading", True, 300), ("idle", True, 900)],
)
def test_the_interval_grows_with_idleness_and_on_a_metered_link(state, is_metered, interval_s):
    now = {**UPLOADING, "state": state, "link": {"metered": is_metered}}

    assert state_wait_s(now, now, age_s=0.0, timing=TIMING) == interval_s


def test_reconnecting_backs_off_to_the_cap_and_never_at_once():
    def waits(jitter):
        return [
            reconnect_wait_s(failures, base_s=1.0, cap_s=60.0, jitter=jitter)
            for failures in (1, 2, 3, 7, 5000)
        ]

    assert waits(0.0) == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert waits(0.999) == pytest.approx([1, 2, 4, 60, 60], rel=0.01)
