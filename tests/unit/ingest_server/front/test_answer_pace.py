"""Whether a peer takes its answer fast enough: bytes that it took, by the kernel's count, in its own time."""

import socket

import pytest

from ingest_server.front.answer_pace import AnswerPace
from ingest_server.front.answer_writer import AnswerWriter
from ingest_server.front.body import Patience
from tests.support.processes import wait_for

PATIENCE = Patience(min_rate=1000, min_rate_window_s=30.0)


@pytest.fixture
def pair():
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,  # a Unix socket's count is another
        socket.create_connection(listening.getsockname()) as there,
        listening.accept()[0] as here,
    ):
        here.setblocking(False)
        yield AnswerWriter(here), there


def test_a_peer_has_the_window_of_the_least_rate(pair):
    sent, _ = pair

    assert AnswerPace(PATIENCE).begin(sent, 5.0) == 35.0


def test_what_it_took_in_that_time_decides(pair):
    sent, there = pair
    pace = AnswerPace(PATIENCE)
    pace.begin(sent, 0.0)
    assert not pace.is_kept(sent, 0.0)  # it has taken nothing
    sent.write(bytes(40_000))
    left = 40_000
    while left:
        left -= len(there.recv(left))
    wait_for(lambda: sent.taken_bytes() == 40_000, "the kernel has heard that all was taken")

    assert pace.is_kept(sent, 40.0)
    assert not pace.is_kept(sent, 40.1)


def test_what_it_had_no_part_in_is_left_out(pair):
    sent, _ = pair
    pace = AnswerPace(PATIENCE)
    pace.begin(sent, 0.0)

    assert pace.wait(12.0) == 42.0
