"""What lasts is told to the log each hour; what is well, or as the owner wants it, never."""

from typing import Any

from structlog.testing import capture_logs

from edge_agent.report.standing_log import StandingLog

HOUR_S = 3600.0
WELL: dict[str, Any] = {
    "problems": [],
    "blocked_by": None,
    "blocked_detail": None,
    "left_out": {},
    "queue": {"files": 0},
}
LEFT = {**WELL, "problems": ["left_out"], "left_out": {"link": {"count": 3, "examples": ["a"]}}}


def lines(*looks):
    standing = StandingLog()
    with capture_logs() as told:
        for document, now_s in looks:
            standing.look(document, now_s)
    return told


def test_a_problem_that_stands_is_told_each_hour():
    told = lines(*((LEFT, minutes * 60.0) for minutes in range(0, 150, 10)))

    assert [(one["event"], one["problems"], one["left_out"]) for one in told] == [
        ("agent.troubled", ["left_out"], {"link": 3})
    ] * 2


def test_what_was_well_meanwhile_begins_anew():
    assert lines((LEFT, 0.0), (WELL, HOUR_S / 2), (LEFT, HOUR_S), (LEFT, 1.5 * HOUR_S)) == []


def test_a_link_that_is_down_is_told_and_a_schedule_is_not():
    down, asleep = {**WELL, "blocked_by": "link"}, {**WELL, "blocked_by": "schedule"}

    assert len(lines((down, 0.0), (down, HOUR_S))) == 1
    assert lines((asleep, 0.0), (asleep, HOUR_S)) == []
