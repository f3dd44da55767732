"""A name's last good addresses stay while a server of names is silent, and a look-up that fails is made again."""

import socket
import threading
import time

import pytest

from edge_agent.net.resolver import Resolver
from tests.support.processes import wait_for
from tests.unit.edge_agent.operate.test_control_socket import no_room_for_a_thread

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 443))]


def test_without_a_thread_to_ask_in_the_next_look_up_asks_again():
    names = Resolver(lambda *_, **__: FOUND)

    with no_room_for_a_thread(), pytest.raises(OSError, match="thread"):
        names.addresses("host", 443)

    assert names.addresses("host", 443) == [(socket.AF_INET, ("192.0.2.7", 443))]


def test_a_look_up_that_breaks_is_an_error_and_the_next_one_asks_again():
    answers = [FOUND, [("too", "few")], FOUND]
    names = Resolver(lambda *_, **__: answers.pop(0))

    known = names.addresses("host", 443)
    remembered = names.addresses("host", 443)

    assert known == remembered == names.addresses("host", 443)
    assert answers == []


def row(host, family=socket.AF_INET):
    return (family, socket.SOCK_STREAM, 6, "", (host, 80))


def test_a_name_server_that_falls_silent_leaves_the_last_good_address():
    released = threading.Event()
    answers = [lambda: [row("192.0.2.1")], lambda: released.wait(10) and []]
    names = Resolver(lambda *_, **__: answers.pop(0)(), limit_s=0.1)

    first = names.addresses("a.example", 80)
    second = names.addresses("a.example", 80)

    assert first == second == [(socket.AF_INET, ("192.0.2.1", 80))]
    released.set()


def test_a_name_never_known_is_given_up_in_time_and_asked_once():
    released = threading.Event()
    asked = []

    def hang(host, *_, **__):
        asked.append(host)
        released.wait(10)
        raise socket.gaierror(-2, "unknown")

    names = Resolver(hang, limit_s=0.05)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            names.addresses("a.example", 80)

    assert asked == ["a.example"]
    released.set()


def test_the_families_take_turns():
    six = socket.AF_INET6
    rows = [row("::1", six), row("::2", six), row("192.0.2.1")]
    names = Resolver(lambda *_, **__: rows)

    found = names.addresses("a.example", 80)

    assert [peer[0] for _, peer in found] == ["::1", "192.0.2.1", "::2"]


def test_what_is_not_known_is_asked_for_once_beforehand_and_nobody_waits():
    asked: list[object] = []
    may_answer = threading.Event()

    def lookup(*_: object, **__: object) -> object:
        asked.append(None)
        may_answer.wait(10)
        return FOUND

    names = Resolver(lookup)
    assert names.foreseen("host", 443, 0.0) == []
    may_answer.set()
    wait_for(lambda: names.known("host", 443), "it has found out")

    assert names.foreseen("host", 443, 0.0) == ["192.0.2.7"]
    assert len(asked) == 1


def test_a_name_that_nobody_knows_yet_is_asked_for_beforehand_every_ten_seconds():
    asked: list[object] = []
    answers: list[object] = []

    def lookup(*_: object, **__: object) -> object:
        asked.append(None)
        if not answers:
            raise OSError("no network yet")
        return answers.pop()

    def looks(now_s: float) -> None:
        for _ in range(5):
            names.foreseen("host", 443, now_s)
            time.sleep(0.02)

    names = Resolver(lookup)
    looks(100.0)
    wait_for(lambda: asked, "it is asked for")
    looks(109.9)
    assert len(asked) == 1

    answers.append(FOUND)
    looks(110.0)
    wait_for(lambda: names.known("host", 443), "it has found out")
    looks(200.0)

    assert names.foreseen("host", 443, 200.0) == ["192.0.2.7"]
    assert len(asked) == 2
