"""The virtual clock goes only when it is moved, and both of its hands together."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.clock import VirtualClock


def test_time_stands_until_somebody_lets_it_pass():
    clock = VirtualClock()
    before_s, before = clock.now_s(), clock.now_utc()

    assert (clock.now_s(), clock.now_utc()) == (before_s, before)

    clock.pass_s(90.5)

    assert clock.now_s() - before_s == 90.5
    assert clock.now_utc() - before == timedelta(seconds=90.5)


def test_a_board_boots_in_1970_and_knows_that_nobody_has_set_its_clock():
    clock = VirtualClock()

    assert clock.now_utc() == datetime(1970, 1, 1, tzinfo=UTC)
    assert not clock.is_synchronised()


def test_setting_the_wall_clock_moves_no_monotonic_time():
    clock = VirtualClock()
    clock.pass_s(60)
    before_s = clock.now_s()

    clock.set_wall_forward(years=56)

    assert clock.now_s() == before_s
    assert clock.now_utc() == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert clock.is_synchronised()


def test_time_does_not_go_back():
    with pytest.raises(ValueError, match="back"):
        VirtualClock().pass_s(-0.1)
