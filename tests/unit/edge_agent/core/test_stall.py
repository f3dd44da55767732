"""When a connection is silent, and when it is given up: how the borders move, not where they are."""

import pytest

from edge_agent.core.stall import Flow, Silence, is_lost, is_silent, probe_interval_s, why_still


def flow(**known):
    return Flow(**{"outstanding": 1, "silent_s": 0.0, "rtt_s": 0.0, "retry_s": 0.0, **known})


def border(holds) -> float:
    """Return the least number of seconds from which on *holds* is true."""
    low, high = 0.0, 1000.0
    assert not holds(low)
    assert holds(high)
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def silent_from(rtt_s: float) -> float:
    return border(lambda silent_s: is_silent(flow(silent_s=silent_s, rtt_s=rtt_s)))


def lost_from(rtt_s: float) -> float:
    """By silence alone, while the kernel tries again at once."""
    return border(lambda silent_s: is_lost(flow(silent_s=silent_s, rtt_s=rtt_s)))


def worth_from(rtt_s: float) -> float:
    """The kernel's next try from which on a new connection is better, in a silence just begun."""
    silent_s = silent_from(rtt_s)
    return border(lambda retry_s: is_lost(flow(silent_s=silent_s, rtt_s=rtt_s, retry_s=retry_s)))


def test_silence_is_measured_in_round_trips_once_they_are_long():
    assert silent_from(0.0) == silent_from(0.01)
    assert silent_from(20.0) == pytest.approx(2 * silent_from(10.0))
    assert silent_from(10.0) > 10.0


def test_at_the_border_it_is_silent_and_lost_already():
    at = silent_from(0.0)

    assert is_silent(flow(silent_s=round(at, 6)))
    assert is_lost(flow(silent_s=round(at, 6), retry_s=round(worth_from(0.0), 6)))
    assert is_lost(flow(silent_s=round(lost_from(0.0), 6)))


def test_where_nothing_is_to_be_acknowledged_nobody_is_silent():
    assert not is_silent(flow(outstanding=0, silent_s=1000.0))
    assert not is_lost(flow(outstanding=0, silent_s=1000.0, retry_s=60.0))


def test_a_connection_is_given_up_later_than_it_is_silent_unless_the_next_try_is_far_off():
    assert lost_from(0.0) > silent_from(0.0)
    assert is_lost(flow(silent_s=silent_from(0.0), retry_s=60.0))
    assert not is_lost(flow(silent_s=silent_from(0.0) - 1e-6, retry_s=60.0))


def test_what_a_new_connection_costs_grows_with_the_round_trip():
    assert worth_from(0.0) == worth_from(0.01)
    assert worth_from(20.0) == pytest.approx(2 * worth_from(10.0))
    assert lost_from(10.0) == pytest.approx(2 * worth_from(10.0))


def test_silence_begins_with_the_last_acknowledged_byte_and_not_with_a_repetition():
    silence = Silence()

    def lasts(now_s, *, outstanding=1, acked=5, last_ack_s=99.0):
        return silence.lasts_s(
            now_s, outstanding=outstanding, acked_bytes=acked, last_ack_s=last_ack_s
        )

    assert lasts(10.0) == 0.0
    assert lasts(13.0) == 3.0
    assert lasts(13.5, last_ack_s=0.25) == 0.25
    assert lasts(14.0, acked=6) == 0.0
    assert lasts(16.0, acked=6) == 2.0
    assert lasts(17.0, acked=6, outstanding=0) == 0.0
    assert lasts(18.0, acked=6) == 1.0


def test_a_link_that_never_acknowledged_is_silent_from_the_first_look():
    silence = Silence()

    silence.lasts_s(100.0, outstanding=1, acked_bytes=0, last_ack_s=500.0)

    assert silence.lasts_s(103.0, outstanding=1, acked_bytes=0, last_ack_s=500.0) == 3.0


def test_a_link_is_looked_for_often_at_first_and_more_seldom_later():
    often, seldom = probe_interval_s(0.0), probe_interval_s(1e6)

    assert 0 < often < seldom
    assert probe_interval_s(border(lambda away_s: probe_interval_s(away_s) == seldom)) == seldom


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"outstanding": 3, "unsent_bytes": 9}, "is not acknowledged"),
        ({"outstanding": 0, "unsent_bytes": 9}, "takes no more of them"),
        ({"outstanding": 0}, "no answer comes"),
    ],
)
def test_of_a_request_that_stands_still_it_is_said_where_it_does(known, said):
    found = why_still(flow(still_s=15.0, **known))

    assert found is not None
    assert said in found
    assert "more than 15 s" in found
    assert why_still(flow(still_s=14.9, **known)) is None


def test_a_request_stands_still_while_no_byte_gets_through_either_way():
    silence = Silence(100.0)

    def still_s(now_s, acked_bytes, received_bytes):
        return silence.still_s(now_s, acked_bytes=acked_bytes, received_bytes=received_bytes)

    assert still_s(101, 500, 0) == 0
    assert still_s(111, 500, 0) == 10
    assert still_s(112, 500, 30) == 0
    assert still_s(113, 501, 30) == 0
    assert still_s(115, 501, 30) == 2
