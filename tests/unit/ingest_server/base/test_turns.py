"""Turns that are shared out by who asks."""

import threading
from typing import Any

from ingest_server.base.turns import Places, Turns


def test_turns_of_one_name_are_taken_in_order_and_handed_on():
    went: list[Any] = []
    turns = Turns(1, lambda _: 1, went.append)
    for one in ("first", "second", "third"):
        turns.ask(one, "a")
    assert (went, turns.take("a"), turns.asked("a")) == (["first"], False, 3)

    turns.end("a")
    turns.end("a")
    assert went == ["first", "second", "third"]

    turns.end("a")
    assert (turns.asked("a"), turns.take("a")) == (0, True)


def test_names_go_on_in_turn_however_much_one_of_them_asks():
    went: list[Any] = []
    turns = Turns(1, lambda _: 1, went.append)
    for one in ("a1", "a2", "a3", "a4"):
        turns.ask(one, "a")
    for one, name in (("b1", "b"), ("c1", "c"), ("b2", "b")):
        turns.ask(one, name)

    for _ in range(6):
        turns.end(went[-1][0])

    assert went == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


def test_a_look_asks_none_of_a_thousand_who_wait_where_no_turn_is_free():
    went: list[Any] = []
    looks: list[int] = []

    def most():
        looks.append(1)
        return 1

    turns = Turns(most, lambda _: 1, went.append)
    for number in range(1000):
        turns.ask(number, str(number))
    looks.clear()

    turns.look()
    assert (went, len(looks)) == ([0], 1)

    turns.end("0")
    assert (went, len(looks)) == ([0, 1], 4), "one is asked, and none behind it"


def test_one_name_never_has_more_than_its_share_and_the_rest_is_for_others():
    went: list[Any] = []
    turns = Turns(3, lambda name: 2 if name == "a" else 3, went.append)
    for one in ("a1", "a2", "a3"):
        turns.ask(one, "a")
    assert went == ["a1", "a2"]

    turns.ask("b1", "b")
    assert (went[-1], turns.take("c")) == ("b1", False)

    turns.end("b")
    assert "a3" not in went
    turns.end("a")
    assert went[-1] == "a3"


def test_without_a_bound_on_all_names_do_not_wait_for_each_other():
    went: list[Any] = []
    turns = Turns(None, lambda _: 1, went.append)
    for one, name in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        turns.ask(one, name)
    assert went == ["a1", "b1"]

    turns.end("a")

    assert went == ["a1", "b1", "a2"]
    assert (turns.take("a"), turns.take("c")) == (False, True)


def test_where_turns_become_fewer_the_running_ones_end_and_where_more_the_next_end_fills_them():
    went: list[Any] = []
    most = [2]
    turns = Turns(lambda: most[0], lambda _: 9, went.append)
    for one in ("a1", "a2", "a3", "a4", "a5", "a6"):
        turns.ask(one, "a")
    assert went == ["a1", "a2"]

    most[0] = 1
    turns.end("a")
    assert went == ["a1", "a2"]
    turns.end("a")
    assert went == ["a1", "a2", "a3"]

    most[0] = 3
    turns.end("a")
    assert went == ["a1", "a2", "a3", "a4", "a5", "a6"]


def test_who_still_waits_is_dismissed_once():
    turns: Turns[str] = Turns(1, lambda _: 1, lambda _: None)
    for one in ("a1", "a2", "a3"):
        turns.ask(one, "a")

    assert turns.dismiss() == ["a2", "a3"]
    assert turns.dismiss() == []
    turns.end("a")
    assert turns.take("a")


def test_a_place_is_waited_for_under_its_own_name_only():
    places, entered, let = Places(1), threading.Event(), threading.Event()

    def come(name: str) -> None:
        with places.of(name):
            entered.set()
            let.wait(10)

    def another() -> None:
        with places.of("a"):
            pass

    first = threading.Thread(target=come, args=("a",))
    second = threading.Thread(target=another)
    first.start()
    assert entered.wait(10)
    second.start()
    with places.of("b"):
        assert second.is_alive()

    let.set()
    first.join(10)
    second.join(10)
    assert not second.is_alive()
    assert (places._taken, places._waiting) == ({}, {})
