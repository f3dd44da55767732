"""A pace: what it saves up, and the pauses it makes."""

import pytest

from edge_agent.core.pacing import Pace


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
