"""How long a store that took nothing is left alone, and what is said meanwhile."""

from __future__ import annotations

from edge_agent.base.activity import Activity
from edge_agent.base.errors import NotDirectError
from edge_agent.base.reasons import ProblemCode
from edge_agent.send.direct import DirectWay
from tests.support.clock import VirtualClock

FAULT = NotDirectError("the store at s3.example answers 403")


def way():
    clock, activity = VirtualClock(), Activity()
    return DirectWay(activity, clock), activity, clock


def test_it_is_tried_again_after_a_minute_then_ever_later_up_to_an_hour():
    found, _, clock = way()
    waits = []
    for _ in range(8):
        assert found.is_open()
        found.failed(FAULT)
        waits.append(next(one for one in range(30, 7201, 30) if _is_open_after(found, clock, one)))

    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def _is_open_after(found, clock, _):
    clock.pass_s(30)
    return found.is_open()


def test_what_failed_is_said_until_it_works_again():
    found, activity, _ = way()

    found.failed(FAULT)
    said, problems = activity.view().direct, activity.problems
    found.worked()

    assert said == (
        "recordings go through the server, and not straight to its store (the store at s3.example answers "
        "403); that is tried again"
    )
    assert ProblemCode.DIRECT_UNREACHABLE in problems
    assert (activity.view().direct, activity.problems) == (None, frozenset())


def test_nothing_is_said_of_a_store_that_nobody_has_needed_since():
    found, activity, clock = way()
    found.failed(FAULT)

    found.rest()
    before = activity.view().direct
    clock.pass_s(61)
    found.rest()

    assert before is not None
    assert activity.view().direct is None
