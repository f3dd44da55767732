"""Calls that never return hold up nobody for long, and nobody else."""

import threading
import time
from typing import Any

import pytest

from edge_agent.base.patience import Patience, SilentError
from edge_agent.send.lane_lock import LaneLock


class Silent:
    """A call that returns when it is told to."""

    def __init__(self):
        self.begun, self.returns = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.returns.wait(30)
        return "late"


@pytest.fixture
def patience():
    made = Patience(0.1)
    yield made
    made.rest()


@pytest.fixture
def silent(patience):
    made = Silent()
    with pytest.raises(SilentError, match="has not answered"):
        patience.call(b"nas", made)
    yield made
    made.returns.set()


def come_back(patience, place, *calls):
    """Have *calls*, which hang at *place*, return, and wait until all that waited for that is done."""
    back = threading.Event()
    patience.finish(place, back.set)
    for one in calls:
        one.returns.set()
    assert back.wait(30)


def test_what_a_call_does_is_returned_or_raised(patience):
    def fail():
        raise FileNotFoundError(2, "no such file")

    assert patience.call(b"card", lambda: 7) == 7
    with pytest.raises(FileNotFoundError):
        patience.call(b"card", fail)


def test_nothing_more_is_begun_where_a_call_hangs_and_elsewhere_all_is_done(patience, silent):
    other = Silent()

    with pytest.raises(SilentError):
        patience.call(b"nas", other)

    assert not other.begun.is_set()
    assert patience.is_silent(b"nas")
    assert patience.call(b"card", lambda: 7) == 7


def test_it_goes_on_when_the_call_comes_back(patience, silent):
    come_back(patience, b"nas", silent)

    assert not patience.is_silent(b"nas")
    assert patience.call(b"nas", lambda: 7) == 7


def test_what_a_given_up_call_has_opened_is_closed_before_what_waited_for_it(patience):
    hung = Silent()
    done: list[Any] = []
    with pytest.raises(SilentError):
        patience.call(b"nas", hung, undo=done.append)

    patience.finish(b"nas", lambda: done.append("closed"))
    before = list(done)
    come_back(patience, b"nas", hung)

    assert before == []
    assert done == ["late", "closed"]


def test_the_place_that_is_silent_is_the_one_it_was_when_nobody_answered(patience):
    hung = Silent()
    with pytest.raises(SilentError):
        patience.call(b"disk", hung, now_at=lambda: b"mounted since")

    assert patience.call(b"disk", lambda: 7) == 7
    assert patience.is_silent(b"mounted since")
    come_back(patience, b"mounted since", hung)


def test_a_lock_of_lanes_is_given_up_while_a_call_hangs():
    patience, lock, hung = Patience(3600), LaneLock(), Silent()
    returned = []

    def touch():
        with lock:
            returned.append(patience.call(b"nas", hung))

    lane = threading.Thread(target=touch)
    lane.start()
    assert hung.begun.wait(30)
    with lock:
        before = list(returned)
    hung.returns.set()
    lane.join(30)
    patience.rest()

    assert (before, returned) == ([], ["late"])


def test_a_program_that_ends_still_waits_for_a_card_that_is_slow():
    patience = Patience(3600)
    patience.end()

    def slow() -> str:
        time.sleep(0.3)
        return "read"

    assert patience.call(b"card", slow) == "read"
    patience.rest()


def test_a_program_that_ends_waits_for_nothing(silent):
    patience, hung = Patience(3600), Silent()
    ended = threading.Event()

    def touch():
        with pytest.raises(SilentError):
            patience.call(b"nas", hung)
        ended.set()

    threading.Thread(target=touch).start()
    assert hung.begun.wait(30)
    patience.end()

    assert ended.wait(30)
    hung.returns.set()


def test_without_a_thread_to_spare_a_call_is_made_by_whoever_wants_it(monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    patience, closed = Patience(), []

    assert patience.call(b"card", threading.get_ident) == threading.get_ident()
    patience.finish(b"card", lambda: closed.append(True))
    assert closed == [True]
