"""A value from outside that may hang, fail or be gone: who asks for it never waits for it."""

import threading

import pytest

from edge_agent.send.rules.looking import Looking
from tests.support.clock import VirtualClock
from tests.support.processes import wait_for

SOON_S = 0.001


class Outside:
    def __init__(self):
        self.value = "one"
        self.looks = 0
        self.closed = []
        self.hangs = threading.Event()
        self.goes_on = threading.Event()

    def look(self):
        self.looks += 1
        if self.hangs.is_set():
            self.goes_on.wait(20)
        if self.value is None:
            raise OSError("it is gone")
        return self.value


@pytest.fixture
def outside():
    made = Outside()
    yield made
    made.goes_on.set()
    for one in made.closed:
        one.close()


def looking(outside, clock):
    made = Looking("outside", outside.look, clock=clock, every_s=SOON_S)
    outside.closed.append(made)
    return made


def test_nobody_looks_before_somebody_asks_and_the_first_answer_is_there_at_once(outside):
    one = looking(outside, VirtualClock())
    assert outside.looks == 0

    assert one.now() == "one"


def test_a_value_is_forgotten_when_nothing_was_heard_for_too_long_and_comes_back(outside):
    clock = VirtualClock()
    one = looking(outside, clock)
    one.now()
    outside.hangs.set()
    before = outside.looks
    wait_for(lambda: outside.looks > before, "a look hangs")

    assert one.now() == "one"
    clock.pass_s(11)
    assert (one.now(), one.why_unknown) == (None, "outside does not answer")

    outside.hangs.clear()
    outside.goes_on.set()
    wait_for(one.now, "it is known again")


def test_a_first_look_that_hangs_is_a_beginning_for_two_seconds_and_no_longer(outside):
    clock = VirtualClock()
    outside.hangs.set()
    one = looking(outside, clock)
    assert not one.is_beginning

    assert (one.now(), one.is_beginning) == (None, True)
    clock.pass_s(2)
    assert (one.now(), one.is_beginning) == (None, False)

    outside.goes_on.set()
    wait_for(one.now, "it is known")
    assert not one.is_beginning


def test_what_fails_is_not_known_and_says_why(outside):
    outside.value = None
    one = looking(outside, VirtualClock())

    assert (one.now(), one.why_unknown) == (None, "it is gone")
    outside.value = "two"
    assert wait_for(one.now, "it is known again") == "two"


def test_nobody_looks_while_nobody_asks_and_who_asks_then_has_a_fresh_answer(outside):
    clock = VirtualClock()
    one = looking(outside, clock)
    one.now()
    clock.pass_s(11)
    wait_for(lambda: one._is_resting, "it rests")
    looks = outside.looks

    outside.value = "two"

    assert one.now() == "two"
    assert outside.looks > looks


def test_closed_it_ends_whether_it_rests_or_not_and_knows_what_it_knew(outside):
    clock = VirtualClock()
    one, other = looking(outside, clock), looking(outside, clock)
    one.now()
    other.now()
    clock.pass_s(9)
    other.now()
    clock.pass_s(2)
    wait_for(lambda: one._is_resting, "one rests")

    one.close()
    other.close()

    wait_for(lambda: "outside" not in {each.name for each in threading.enumerate()}, "they end")
    clock.pass_s(11)
    assert one.now() is None


def test_without_a_thread_it_is_not_known(outside, monkeypatch):
    def fail(_):
        raise RuntimeError("can't start new thread")

    one = looking(outside, VirtualClock())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        assert one.now() is None

    assert one.now() == "one"
