"""When a connection is silent, and when it is given up."""

import pytest

from edge_agent.core.stall import Flow, Silence, is_lost, is_silent, probe_interval_s


def flow(**known):
    return Flow(**{"outstanding": 1, "silent_s": 0.0, "rtt_s": 0.01, "retry_s": 0.0, **known})


@pytest.mark.parametrize(
    ("silent_s", "rtt_s", "is_so"),
    [(0.99, 0.01, False), (1.0, 0.01, True), (1.99, 0.5, False), (2.0, 0.5, True)],
)
def test_silent_is_a_second_or_four_round_trips_without_a_word(silent_s, rtt_s, is_so):
    assert is_silent(flow(silent_s=silent_s, rtt_s=rtt_s)) is is_so


def test_where_nothing_is_to_be_acknowledged_nobody_is_silent():
    assert not is_silent(flow(outstanding=0, silent_s=1000.0))
    assert not is_lost(flow(outstanding=0, silent_s=1000.0, retry_s=60.0))


@pytest.mark.parametrize(
    ("known", "is_so"),
    [
        ({"silent_s": 0.9, "retry_s": 60.0}, False),
        ({"silent_s": 1.0, "retry_s": 1.49}, False),
        ({"silent_s": 1.0, "retry_s": 1.5}, True),
        ({"silent_s": 5.9}, False),
        ({"silent_s": 6.0}, True),
        ({"silent_s": 4.0, "rtt_s": 1.0, "retry_s": 3.9}, False),
        ({"silent_s": 4.0, "rtt_s": 1.0, "retry_s": 4.0}, True),
        ({"silent_s": 7.9, "rtt_s": 1.0}, False),
        ({"silent_s": 8.0, "rtt_s": 1.0}, True),
    ],
)
def test_lost_is_silent_for_longer_than_a_new_connection_costs(known, is_so):
    assert is_lost(flow(**known)) is is_so


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


def test_a_link_is_looked_for_each_second_and_after_five_minutes_more_seldom():
    assert [probe_interval_s(away_s) for away_s in (0.0, 299.9, 300.0, 1e6)] == [1.0, 1.0, 5.0, 5.0]
