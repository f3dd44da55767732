"""Who computes for much lets the others go first, and nobody waits who is alone."""

import pytest

from ingest_server.front.pacing import AHEAD_S, DEBT_S, MOST_KNOWN, PRESENT_S, SHARE, Pacing

HEAVY_S = AHEAD_S + DEBT_S
"""What uses up all that may be owed."""


class Asking:
    """Devices that ask, at a clock that is set."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.pacing = Pacing(lambda: self.now_s)

    def may(self, name: str) -> bool:
        return self.pacing.may_begin(name)

    def does(self, name: str, worked_s: float) -> None:
        """Have a request of *name* from its beginning to its end."""
        assert self.may(name)
        self.pacing.ended(name, worked_s)

    def another_was_here(self) -> None:
        self.does("modest", 0.0)


@pytest.fixture
def asking():
    return Asking()


def test_who_is_alone_never_waits_however_much_it_uses(asking):
    for _ in range(100):
        asking.does("greedy", 1.0)
    assert all(asking.may("greedy") for _ in range(5))


def test_who_used_its_share_waits_while_a_request_of_somebody_runs_who_uses_little(asking):
    asking.does("greedy", HEAVY_S)
    asking.another_was_here()
    assert asking.may("modest")

    assert not asking.may("greedy")
    assert asking.may("somebody new")
    asking.pacing.ended("modest", 0.001)
    assert not asking.may("greedy")
    asking.pacing.ended("somebody new", 0.001)
    assert asking.may("greedy")


def test_in_between_it_goes_on_one_at_a_time(asking):
    asking.does("greedy", HEAVY_S)
    asking.another_was_here()

    assert asking.may("greedy")
    assert not asking.may("greedy")
    asking.pacing.ended("greedy", 0.001)
    assert asking.may("greedy")


def test_a_request_that_began_with_something_left_does_not_keep_its_own_device_waiting(asking):
    asking.another_was_here()
    assert asking.may("greedy")
    assert asking.may("greedy")
    asking.pacing.ended("greedy", HEAVY_S)

    assert asking.may("greedy")


def test_two_that_both_use_much_do_not_wait_for_each_other(asking):
    for name in ("greedy", "greedy too"):
        asking.does(name, HEAVY_S)

    assert all(asking.may(name) for name in ("greedy", "greedy too") * 3)


def test_while_somebody_is_always_served_it_goes_on_at_the_pace_of_its_share(asking):
    asking.another_was_here()
    assert asking.may("modest")
    cost_s, seconds, done = 0.01, 100, 0
    for _ in range(seconds * 1000):
        asking.now_s += 0.001
        asking.another_was_here()
        if asking.may("greedy"):
            asking.pacing.ended("greedy", cost_s)
            done += 1

    assert done * cost_s == pytest.approx(SHARE * seconds + AHEAD_S, abs=2 * cost_s)


def test_it_goes_on_as_it_likes_where_the_others_have_gone(asking):
    asking.does("greedy", HEAVY_S)
    asking.another_was_here()
    assert asking.may("greedy")
    asking.now_s += PRESENT_S - 0.001
    assert not asking.may("greedy")

    asking.now_s += 0.001

    assert all(asking.may("greedy") for _ in range(5))


def test_what_is_owed_is_bounded(asking):
    asking.does("greedy", 3600.0)
    asking.now_s += DEBT_S / SHARE
    asking.another_was_here()
    assert asking.may("modest")

    assert asking.may("greedy")


def test_a_million_names_are_not_remembered(asking):
    asking.does("greedy", HEAVY_S)
    for number in range(MOST_KNOWN):
        asking.does(f"device {number}", 0.001)
    assert asking.may("modest")

    assert asking.may("greedy")  # it was not here for longest
