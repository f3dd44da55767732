"""Who is woken, stopped and let go on: two reasons to refuse requests, and lanes that come meanwhile."""

import pytest

from edge_agent.base.errors import AbortedError
from edge_agent.send.roster import Roster
from tests.support.memory_server import MemoryClient, MemoryServer


@pytest.fixture
def server():
    return MemoryServer()


@pytest.fixture
def roster():
    return Roster()


def refuses(client):
    try:
        client.probe("n")
    except AbortedError:
        return True
    return False


def test_a_lane_that_comes_while_the_others_are_held_is_held_with_them(roster, server):
    roster.hold()

    late = MemoryClient(server)
    roster.add(late)

    assert refuses(late)


@pytest.mark.parametrize("first", ["stop", "hold"])
def test_requests_go_on_only_when_both_reasons_are_over(roster, server, first):
    client = MemoryClient(server)
    roster.add(client)
    roster.stop()
    roster.hold()

    ends = [roster.resume, roster.release]
    if first == "hold":
        ends.reverse()
    ends[0]()
    assert refuses(client)
    assert roster.is_refusing

    ends[1]()
    assert not refuses(client)
    assert not roster.is_refusing


def test_a_lane_beyond_the_count_is_not_woken_and_a_busy_one_only_by_news(roster, server):
    members = [roster.add(MemoryClient(server)) for _ in range(3)]
    roster.count = 2
    roster.busy[0] = "recording"

    roster.wake_idle()
    assert [one.woken.is_set() for one in members] == [False, True, False]

    roster.wake()
    assert [one.woken.is_set() for one in members] == [True, True, False]


def test_a_stop_wakes_everybody(roster, server):
    members = [roster.add(MemoryClient(server)) for _ in range(3)]

    roster.stop()

    assert all(one.woken.is_set() for one in members)


def test_more_lanes_than_there_are_is_said_to_whoever_makes_them(roster, server):
    roster.add(MemoryClient(server))

    roster.allow(1)
    assert not roster.lacks_lanes.is_set()

    roster.allow(2)
    assert roster.lacks_lanes.is_set()


def test_a_client_that_is_no_lanes_is_stopped_and_let_go_on_with_them_and_is_not_counted(
    roster, server
):
    beside = MemoryClient(server)
    roster.add_beside(beside)
    roster.hold()
    was_held = refuses(beside)
    roster.release()

    assert was_held
    assert not refuses(beside)
    assert roster.size == 0
