"""What is read and dropped behind an early answer, and for how long."""

import socket

import pytest

from ingest_server.front.lingering import LINGER_BYTES, LINGER_MOST_S, LINGER_S, Lingering


@pytest.fixture
def pair():
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def test_the_peer_is_told_that_nothing_more_comes_and_may_still_send(pair):
    here, there = pair
    lingering = Lingering()

    assert lingering.begin(here, 10.0)

    assert there.recv(1) == b""
    there.sendall(b"more of the body")
    assert lingering.go_on(here, 11.0) == 11.0 + LINGER_S


def test_it_ends_once_the_peer_has_closed(pair):
    here, there = pair
    lingering = Lingering()
    lingering.begin(here, 0.0)
    there.close()

    assert lingering.go_on(here, 1.0) is None


def test_it_ends_after_a_time_however_often_a_byte_comes(pair):
    here, _ = pair
    lingering = Lingering()
    lingering.begin(here, 0.0)

    assert lingering.go_on(here, LINGER_MOST_S - 1.0) == LINGER_MOST_S


def test_it_ends_after_so_many_bytes(pair):
    here, there = pair
    there.settimeout(10.0)
    lingering = Lingering()
    lingering.begin(here, 0.0)
    sent, piece, answers = 0, bytes(64 * 1024), []
    while sent < LINGER_BYTES:
        sent += there.send(piece[: LINGER_BYTES - sent])
        answers.append(lingering.go_on(here, 0.0))

    assert answers[-1] is None
    assert set(answers[:-1]) == {LINGER_S}
