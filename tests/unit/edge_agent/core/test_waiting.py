"""Backoff, pace, rate and what is left: the figures that a person reads, exactly."""

import math

import pytest

from edge_agent.core.backoff import BackoffPolicy
from edge_agent.core.pacing import Pace
from edge_agent.core.progress import Rate, eta_s


@pytest.mark.parametrize(("base_s", "cap_s"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_a_backoff_that_never_waits_or_starts_past_its_cap_is_refused(base_s, cap_s):
    with pytest.raises(ValueError, match="not a backoff policy"):
        BackoffPolicy(base_s, cap_s)


def test_the_wait_doubles_with_each_failure_and_jitter_takes_a_part_of_it():
    policy = BackoffPolicy(base_s=3.0, cap_s=100.0)

    assert [policy.delay_s(n, jitter=0.5) for n in (0, 1, 2, 3, 6, 7)] == [
        1.5,
        1.5,
        3.0,
        6.0,
        48.0,
        50.0,
    ]
    assert policy.delay_s(3, jitter=0.0) == 0.0
    assert BackoffPolicy(1.0, 1.0).ceiling_s(9) == 1.0


def test_a_very_long_row_of_failures_is_still_the_cap():
    assert BackoffPolicy(1.0, 1e9).ceiling_s(33) == 1e9
    assert BackoffPolicy(1e-3, 1e9).ceiling_s(100_000) == 2.0**32 / 1000


@pytest.mark.parametrize("rate", [0, -1.0])
def test_no_rate_is_no_pace(rate):
    with pytest.raises(ValueError, match="not a rate"):
        Pace(rate)


def test_a_quarter_of_a_second_may_be_saved_up_and_no_more():
    pace = Pace(1000)

    assert pace.delay_s(250, 0.0) == 0.0
    assert pace.delay_s(100, 0.0) == pytest.approx(0.1)
    assert pace.delay_s(0, 0.05) == pytest.approx(0.05)
    assert pace.delay_s(0, 0.1) == 0.0
    assert pace.delay_s(250, 100.0) == 0.0
    assert pace.delay_s(250, 100.0) == pytest.approx(0.25)


def test_pieces_make_no_pause_longer_than_that():
    assert Pace(1_000_000).piece_bytes(10**9) == 250_000
    assert Pace(1_000_000).piece_bytes(1000) == 1000
    assert Pace(10).piece_bytes(10**9) == 1024
    assert Pace(10).piece_bytes(0) == 1


def test_a_rate_is_unknown_at_first_and_steady_while_the_link_is():
    rate = Rate()
    assert rate.bytes_per_s is None

    for took_s in (10.0, 0.5, 60.0):
        rate.add(int(100 * took_s), took_s)
        assert rate.bytes_per_s == pytest.approx(100)


def test_what_was_measured_is_forgotten_by_half_in_each_half_life():
    def half_life_s(idle_s: float) -> float:
        rate = Rate()
        rate.add(1000, 10.0)
        rate.add(0, idle_s)
        # rate = 1000 kept / (10 kept + idle_s), solved for what was kept of the first sample
        kept = rate.bytes_per_s * idle_s / (1000 - 10 * rate.bytes_per_s)
        return idle_s / -math.log2(kept)

    assert half_life_s(1.0) > 1.0
    assert half_life_s(1.0) == pytest.approx(half_life_s(5.0)) == pytest.approx(half_life_s(40.0))


def test_a_request_that_took_no_time_counts_as_a_millisecond():
    rate = Rate()

    rate.add(1, 0.0)

    assert rate.bytes_per_s == pytest.approx(1000)


def test_what_is_left_takes_as_long_as_the_rate_says():
    assert eta_s(1000, 100.0) == 10.0
    assert eta_s(0, 100.0) == 0.0
    assert eta_s(1000, None) is None
    assert eta_s(1000, 0.0) is None
