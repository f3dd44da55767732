"""Who computes for much goes on at its pace, and nobody waits who is alone."""

import pytest

from ingest_server.front.pacing import AHEAD_S, DEBT_S, MOST_KNOWN, PRESENT_S, SHARE, Pacing

HEAVY_S = AHEAD_S + DEBT_S
"""What uses up all that may be owed."""


class Asking:
    """Devices that ask, at a clock that is set."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.pacing = Pacing(lambda: self.now_s)

    def another_asks(self) -> None:
        self.pacing.note("modest", 0.0)


@pytest.fixture
def asking():
    return Asking()


def test_who_is_alone_never_waits_however_much_it_uses(asking):
    for _ in range(100):
        asking.pacing.note("greedy", 1.0)
        assert asking.pacing.may_go_on("greedy")


def test_who_used_its_share_waits_while_somebody_who_uses_little_is_there(asking):
    asking.another_asks()
    asking.pacing.note("greedy", AHEAD_S + 0.001)

    assert not asking.pacing.may_go_on("greedy")
    assert asking.pacing.may_go_on("modest")
    assert asking.pacing.may_go_on("somebody new")


def test_two_that_both_use_much_do_not_wait_for_each_other(asking):
    for name in ("greedy", "greedy too"):
        asking.pacing.note(name, HEAVY_S)

    assert asking.pacing.may_go_on("greedy")
    assert asking.pacing.may_go_on("greedy too")


def test_it_goes_on_at_the_pace_of_its_share(asking):
    cost_s, seconds, done = 0.01, 100, 0
    for _ in range(seconds * 1000):
        asking.now_s += 0.001
        asking.another_asks()
        if asking.pacing.may_go_on("greedy"):
            asking.pacing.note("greedy", cost_s)
            done += 1

    assert done * cost_s == pytest.approx(SHARE * seconds + AHEAD_S, abs=2 * cost_s)


def test_it_goes_on_at_once_where_the_others_have_gone(asking):
    asking.another_asks()
    asking.pacing.note("greedy", HEAVY_S)
    asking.now_s += PRESENT_S - 0.001
    assert not asking.pacing.may_go_on("greedy")

    asking.now_s += 0.001

    assert asking.pacing.may_go_on("greedy")


def test_what_is_owed_is_bounded(asking):
    asking.pacing.note("greedy", 3600.0)
    asking.now_s += DEBT_S / SHARE
    asking.another_asks()

    assert asking.pacing.may_go_on("greedy")


def test_a_million_names_are_not_remembered(asking):
    asking.pacing.note("greedy", HEAVY_S)
    for number in range(MOST_KNOWN):
        asking.pacing.note(f"device {number}", 0.001)

    assert asking.pacing.may_go_on("greedy")  # it was not here for longest
