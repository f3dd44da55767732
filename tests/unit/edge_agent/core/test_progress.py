"""Rate and what is left: the figures that a person reads, exactly."""

import math

import pytest

from edge_agent.core.progress import Rate, eta_s
from tests.support.present import present


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
        per_s = present(rate.bytes_per_s)
        kept = per_s * idle_s / (1000 - 10 * per_s)
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
