"""How fast each lane is taken to be: what the size of its next request follows from."""

import pytest

from edge_agent.send.lane_rates import LaneRates


@pytest.fixture
def rates():
    return LaneRates()


def test_a_lane_that_has_moved_nothing_yet_is_taken_for_the_mean_of_the_others(rates):
    rates.of(0).add(1000, 1.0)
    rates.of(1).add(3000, 1.0)

    assert rates.expected(2) == pytest.approx(2000)
    assert rates.weight(2, sending=[0, 1]) == 1.0


def test_a_lane_weighs_what_it_moves_beside_the_others(rates):
    rates.of(0).add(1000, 1.0)
    rates.of(1).add(3000, 1.0)

    assert rates.weight(1, sending=[0, 1]) == pytest.approx(1.5)
    assert rates.total([0, 1]) == pytest.approx(4000)


def test_a_lane_whose_window_has_shrunk_is_as_slow_as_that_and_not_as_it_was(rates):
    rates.of(0).add(1000, 1.0)

    rates.window_rates = {0: 250.0}

    assert rates.expected(0) == 250.0


def test_a_wide_window_promises_nothing(rates):
    rates.of(0).add(1000, 1.0)

    rates.window_rates = {0: 10**9}

    assert rates.expected(0) == pytest.approx(1000)


def test_what_is_known_of_no_lane_is_not_expected(rates):
    assert rates.expected(0) is None
    assert rates.total([0]) is None
    assert rates.weight(0, sending=[0]) == 1.0
