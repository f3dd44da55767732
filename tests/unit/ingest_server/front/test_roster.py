"""What a stop waits for, and what it closes."""

import socket
from contextlib import ExitStack
from typing import Any

import pytest

from ingest_server.front.roster import MAX_LINGERING, Roster


class Conn:
    def __init__(self) -> None:
        self.socket, self.peer = socket.socketpair()
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True
        self.socket.close()


class Running:
    def __init__(self, conn: Conn) -> None:
        self.conn = conn


def running(conn: Conn) -> Any:
    return Running(conn)


@pytest.fixture
def connected():
    """Makes connections, and closes them at the end."""
    with ExitStack() as ending:

        def make() -> Any:
            made = Conn()
            ending.enter_context(made.socket)
            ending.enter_context(made.peer)
            return made

        yield make


def test_a_stop_waits_for_what_runs(connected):
    roster, request = Roster(), running(connected())
    roster.enter(request)

    assert (roster.wait_until_idle(0.0), roster.running()) == (False, [request])
    roster.leave(request)
    assert (roster.wait_until_idle(0.0), roster.running()) == (True, [])


def test_what_runs_on_though_it_was_cut_has_its_connection_broken(connected):
    roster, request = Roster(), running(connected())
    roster.enter(request)

    roster.shut_down_running()

    assert request.conn.peer.recv(1) == b""


def test_whatever_is_open_is_closed_wherever_it_waits(connected):
    roster, ones = Roster(), [connected(), connected()]
    for one in ones:
        roster.remember(one)
    roster.forget(ones[0])
    assert roster.open_count == 1

    roster.close_rest()

    assert [one.is_closed for one in ones] == [False, True]


def test_as_many_linger_as_there_is_room_for_and_a_closed_one_makes_room():
    roster = Roster()
    ones: list[Any] = [object() for _ in range(MAX_LINGERING + 1)]

    assert [roster.may_linger(one) for one in ones] == [True] * MAX_LINGERING + [False]
    roster.forget(ones[0])
    assert roster.may_linger(ones[-1])
