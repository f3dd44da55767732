"""Lost full packets are told from a link that broke."""

from edge_agent.core.full_packets import FullPackets


def test_two_requests_that_stand_still_from_the_first_packet_on_are_a_sign():
    packets = FullPackets()

    assert not packets.stood_still(0.0, 8.0, gained=500, timeouts=4)
    assert packets.stood_still(9.0, 17.0, gained=500, timeouts=4)


def test_one_outage_that_breaks_the_requests_of_all_lanes_is_none():
    packets = FullPackets()

    found = [packets.stood_still(began_s, 20.0, gained=500, timeouts=4) for began_s in (0, 1, 2, 3)]

    assert found == [False] * 4


def test_what_has_moved_or_was_not_sent_again_is_none():
    packets = FullPackets()
    packets.stood_still(0.0, 8.0, gained=500, timeouts=4)

    assert not packets.stood_still(9.0, 17.0, gained=500, timeouts=1)
    assert not packets.stood_still(9.0, 17.0, gained=100_000, timeouts=4)
    assert not packets.stood_still(18.0, 26.0, gained=500, timeouts=4)
    packets.moved(100_000)
    assert not packets.stood_still(27.0, 35.0, gained=500, timeouts=4)
