"""How much is begun at a time."""

import pytest

from edge_agent.core.gather import ahead_bytes, begins_another

MIB = 1024 * 1024


def test_as_much_is_begun_as_the_link_takes_in_two_seconds():
    assert ahead_bytes(2_500_000, 0.05) == 5_000_000


def test_a_long_way_takes_more_for_each_recording_costs_round_trips():
    assert ahead_bytes(1_000_000, 0.6) == 4_800_000


def test_before_a_rate_is_known_it_is_a_mebibyte():
    assert ahead_bytes(None, 0.6) == MIB


@pytest.mark.parametrize(
    ("begun", "more"), [(0, True), (999, True), (1000, False), (10**12, False)]
)
def test_another_is_begun_while_less_than_that_is(begun, more):
    assert begins_another(begun, 1000) is more
