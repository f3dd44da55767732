"""Connections that end once they have carried so much are told from a link that broke."""

import random

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


def test_five_in_a_row_that_have_carried_equally_much_are_a_sign():
    arrived = (2 * MIB, MIB, MIB - 64 * KIB, MIB + 64 * KIB, MIB, MIB)

    assert found(ShortConnections(), *arrived) == [None] * 5 + [832 * KIB]


def test_what_arrived_before_over_the_same_connection_counts():
    bodies = [broken(number, carried=100 * KIB * number) for number in range(5)]
    arrived = [MIB - body.carried for body in bodies]

    assert found(ShortConnections(), *arrived, bodies=bodies) == [None] * 4 + [896 * KIB]


@pytest.mark.parametrize(
    "arrived",
    [
        (MIB, 2 * MIB) * 4,  # a link breaks anywhere
        (MIB, MIB, MIB, MIB, MIB + 90 * KIB, MIB),
        (0,) * 6,  # no connection was made
        (300 * KIB,) * 6,
        (8 * MIB,) * 6,  # only the answers were lost
    ],
)
def test_others_are_none(arrived):
    assert found(ShortConnections(), *arrived) == [None] * len(arrived)


def test_a_link_that_breaks_anywhere_is_hardly_ever_taken_for_one_that_counts():
    draw, connections = random.Random(1), ShortConnections()
    arrived = [min(7 * MIB, int(draw.expovariate(1 / MIB))) for _ in range(5000)]

    assert sum(one is not None for one in found(connections, *arrived)) <= 2


def test_one_outage_that_breaks_the_bodies_of_all_lanes_is_none():
    bodies = [Broken("u", ByteRange(0, 8 * MIB), 0, float(one), 20.0) for one in range(8)]

    assert found(ShortConnections(), *(MIB,) * 8, bodies=bodies) == [None] * 8


def test_a_connection_that_carries_more_ends_the_suspicion():
    connections = ShortConnections()
    found(connections, *(MIB,) * 4)

    connections.carried(2 * MIB)

    assert found(connections, MIB, bodies=[broken(5)]) == [None]


def test_what_the_server_says_of_another_upload_settles_nothing():
    connections = ShortConnections()
    connections.broke(broken(0))

    assert connections.arrived("other", RangeSet([ByteRange(0, MIB)])) is None
    rest = [broken(number) for number in range(1, 5)]
    assert found(connections, *(MIB,) * 4, bodies=rest) == [None] * 3 + [896 * KIB]
