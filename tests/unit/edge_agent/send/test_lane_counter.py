"""How many lanes a link may have goes by the congestion control of the connections over it."""

import socket
from contextlib import contextmanager
from typing import Any

import pytest

from edge_agent.base.activity import Activity
from edge_agent.core.lane_count import LanePolicy
from edge_agent.send.lane_counter import LaneCounter
from edge_agent.send.lane_rates import LaneRates
from edge_agent.send.roster import Roster
from edge_agent.send.throttle import Throttle
from tests.support.rim import StillClock


class Lane:
    """A client with a connection over one link, then over another."""

    live = None

    def live_socket(self):
        return self.live


@contextmanager
def connected(control):
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as ours,
    ):
        try:
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control)
        except OSError:
            pytest.skip(f"this kernel has no {control.decode()}")
        yield ours


def test_a_link_with_bbr_has_four_lanes_at_most_and_the_next_one_without_it_has_more_again():
    roster = Roster()
    lane: Any = Lane()  # what a roster asks of a client beside it, nobody asks here
    roster.add(lane)
    throttle = Throttle(Activity(), StillClock(), pause=lambda _: None)
    counter = LaneCounter(roster, LaneRates(), throttle, LanePolicy())
    counter.allow(8)

    most = []
    for control in (b"cubic", b"bbr", b"cubic"):
        with connected(control) as lane.live:
            counter.settle_for(8)
            counter.review(0.0)
            most.append(roster.count)

    assert most == [8, 4, 8]
