"""How fast each lane is taken to be: what the size of its next request follows from."""

import pytest

from edge_agent.base.activity import Activity
from edge_agent.send.body import ThrottledBody
from tests.support.clock import VirtualClock


@pytest.fixture
def outflow():
    return ThrottledBody(
        Activity(), VirtualClock(), pause=lambda _: None, is_stopping=lambda: False
    )


def test_a_lane_that_has_moved_nothing_yet_is_taken_for_the_mean_of_the_others(outflow):
    outflow.rate_of(0).add(1000, 1.0)
    outflow.rate_of(1).add(3000, 1.0)

    assert outflow.expected_rate(2) == pytest.approx(2000)
    assert outflow.weight(2) == 1.0


def test_a_lane_whose_window_has_shrunk_is_as_slow_as_that_and_not_as_it_was(outflow):
    outflow.rate_of(0).add(1000, 1.0)

    outflow.window_rates = {0: 250.0}

    assert outflow.expected_rate(0) == 250.0


def test_a_wide_window_promises_nothing(outflow):
    outflow.rate_of(0).add(1000, 1.0)

    outflow.window_rates = {0: 10**9}

    assert outflow.expected_rate(0) == pytest.approx(1000)


def test_what_is_known_of_no_lane_is_not_expected(outflow):
    assert outflow.expected_rate(0) is None
    assert outflow.weight(0) == 1.0
