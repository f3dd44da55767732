"""Connections that end once they have carried so much are told from a link that broke."""

import pytest

from edge_agent.core.short_connections import Broken, ShortConnections
from upload_protocol.ranges import ByteRange, RangeSet

KIB = 1024
MIB = 1024 * KIB


def broken(number: int, carried: int = 0) -> Broken:
    """Return the body of a connection that began when the one before had broken."""
    return Broken("u", ByteRange(0, 8 * MIB), carried, 10.0 * number, 10.0 * number + 9)


def found(connections, *arrived, bodies=None):
    """Return what follows from bodies of which so much had arrived when they broke."""
    bodies = bodies or [broken(number) for number in range(len(arrived))]
    limits = []
    for body, count in zip(bodies, arrived, strict=True):
        connections.broke(body)
        received = RangeSet([ByteRange(0, count)]) if count else RangeSet()
        limits.append(connections.arrived("u", received))
    return limits


def test_two_that_have_carried_equally_much_are_a_sign():
    assert found(ShortConnections(), MIB, MIB - 40 * KIB) == [None, 832 * KIB]


def test_what_arrived_before_over_the_same_connection_counts():
    bodies = [broken(0, carried=600 * KIB), broken(1)]

    assert found(ShortConnections(), 424 * KIB, MIB, bodies=bodies) == [None, 896 * KIB]


@pytest.mark.parametrize(
    "arrived",
    [
        (MIB, 2 * MIB),  # a link breaks anywhere
        (0, 0),  # no connection was made
        (30 * KIB, 30 * KIB),
        (8 * MIB, 8 * MIB),  # only the answers were lost
    ],
)
def test_others_are_none(arrived):
    assert found(ShortConnections(), *arrived) == [None, None]


def test_one_outage_that_breaks_the_bodies_of_all_lanes_is_none():
    bodies = [Broken("u", ByteRange(0, 8 * MIB), 0, one, 20.0) for one in (0.0, 1.0, 2.0)]

    assert found(ShortConnections(), MIB, MIB, MIB, bodies=bodies) == [None] * 3


def test_a_connection_that_carries_more_ends_the_suspicion():
    connections = ShortConnections()
    found(connections, MIB)

    connections.carried(2 * MIB)

    assert found(connections, MIB, bodies=[broken(5)]) == [None]


def test_what_the_server_says_of_another_upload_settles_nothing():
    connections = ShortConnections()
    connections.broke(broken(0))

    assert connections.arrived("other", RangeSet([ByteRange(0, MIB)])) is None
    assert found(connections, MIB, bodies=[broken(1)]) == [896 * KIB]
