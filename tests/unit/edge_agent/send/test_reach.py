"""What befalls the requests of all lanes at the same moment is one failure."""

import pytest

from edge_agent.base.errors import ChannelError, ServerBusyError
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.send.reach import Reach
from edge_agent.send.retries import Retries
from edge_agent.send.waits import Waits
from tests.support.memory_lane import memory_lane
from tests.support.present import present

LANES = 8


@pytest.fixture
def lane(tmp_path):
    with memory_lane(tmp_path) as made:
        yield made


@pytest.fixture
def waits(lane):
    return Waits(lane.activity, lane.clock)


@pytest.fixture
def reach(lane, waits):
    retries = Retries(lane.store, jitter=lambda: 1.0)
    store, activity, clock = lane.store, lane.activity, lane.clock
    return Reach(store, lambda: b"", activity, clock=clock, waits=waits, retries=retries)


def test_eight_lanes_that_a_proxy_refuses_at_once_wait_as_long_as_one(lane, reach):
    began_s = lane.clock.now_s()
    lane.clock.pass_s(0.1)

    waited = [reach.on_channel(ChannelError("answer 520"), began_s) for _ in range(LANES)]

    assert waited == [1.0] * LANES


def test_a_server_that_is_away_for_a_moment_is_no_problem_however_many_lanes_notice(
    lane, reach, waits
):
    problems = []
    for _ in range(3):
        began_s = lane.clock.now_s()
        lane.clock.pass_s(0.1)
        for _ in range(LANES):
            reach.on_foreign_busy(began_s)
            waits.hold_lane(Reason.SERVER_BUSY, "answer 502", 1.0)
        problems.append(ProblemCode.SERVER_UNREACHABLE in lane.activity.problems)
        lane.clock.pass_s(1.0)

    assert problems == [False, False, True]


def test_a_proxy_that_is_busy_for_all_lanes_of_a_recording_has_failed_it_once(lane):
    recording = lane.record("a.mp4", b"x")
    busy = ServerBusyError(
        "answer 502", retry_after_s=None, blocked_by="server_busy", is_foreign=True
    )
    failures, began_s = lane.sender.shared.failures, lane.clock.now_s()
    lane.clock.pass_s(0.1)

    for _ in range(LANES):
        failures.on_transport_error(lane.now(recording), busy, began_s=began_s)

    assert lane.now(recording).failures == 1


@pytest.mark.parametrize("is_foreign", [True, False])
def test_what_something_on_the_way_orders_ends_with_that_way_and_what_the_server_orders_does_not(
    lane, reach, waits, is_foreign
):
    waits.hold_lane(Reason.SERVER_BUSY, "Retry-After: 300", 300.0, is_foreign=is_foreign)

    reach.link_returned()

    assert (waits.lane is None) is is_foreign
    assert (lane.activity.blocked_by is None) is is_foreign


def test_requests_that_stand_still_are_a_reason_until_something_moves_and_no_other_is_covered(
    lane, reach, waits
):
    reach.is_still("nothing has moved")
    shown = lane.activity.blocked_by
    reach.is_still(None)
    assert (present(shown).reason, present(shown).detail) == (Reason.LINK, "nothing has moved")
    assert lane.activity.blocked_by is None

    waits.hold_lane(Reason.BANDWIDTH, "limited", 5.0)
    reach.is_still("nothing has moved")
    assert present(lane.activity.blocked_by).reason is Reason.BANDWIDTH
    reach.is_still(None)
    assert present(lane.activity.blocked_by).reason is Reason.BANDWIDTH
