"""Answers that are held back, by the clock that they are given."""

import math

import pytest

from ingest_server.front.held import MOST_HELD, HeldAnswers


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_each_goes_on_after_its_time_and_none_before():
    clock = Clock()
    gone: list[object] = []
    held = HeldAnswers(1.0, gone.append, clock)
    held.hold("a")
    clock.now_s += 0.5
    held.hold("b")

    found = []
    due_in_s = []
    for _ in range(4):
        due_in_s.append(held.due_in_s())
        held.release()
        found.append(list(gone))
        clock.now_s += 0.4

    assert found == [[], [], ["a"], ["a", "b"]]
    assert due_in_s == [pytest.approx(one, abs=0.001) for one in (0.5, 0.1, 0.0, 0.0)]
    assert held.due_in_s() == math.inf
    assert len(held) == 0


def test_there_is_room_for_a_number_of_them():
    clock = Clock()
    gone: list[object] = []
    held = HeldAnswers(1.0, gone.append, clock)
    for number in range(MOST_HELD - 1):
        held.hold(number)
    assert held.has_room()

    held.hold(MOST_HELD)
    assert not held.has_room()

    clock.now_s += 1
    held.release()
    assert held.has_room()


def test_an_end_lets_all_go_on_and_holds_none_back():
    gone: list[object] = []
    held = HeldAnswers(1.0, gone.append, Clock())
    held.hold("a")

    held.end()
    held.hold("b")

    assert gone == ["a", "b"]
    assert not held.has_room()
