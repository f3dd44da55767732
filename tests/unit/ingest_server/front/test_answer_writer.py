import socket
import ssl
import threading

import pytest
from cheroot.errors import socket_errors_to_ignore

from ingest_server.front.answer_writer import JOINED_BYTES, AnswerWriter


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.settimeout(5)
    with ours, theirs:
        yield AnswerWriter(ours), theirs


def test_a_head_and_its_body_leave_in_one_piece(pair):
    writer, theirs = pair

    with writer.held():
        writer.write(b"head, ")
    writer.write(b"body")

    assert theirs.recv(100) == b"head, body"


def test_a_head_without_a_body_leaves_when_the_answer_ends(pair):
    writer, theirs = pair
    with writer.held():
        writer.write(b"head")

    writer.flush()
    writer.flush()

    assert theirs.recv(100) == b"head"
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(100)


def test_a_large_body_is_not_copied_behind_its_head(pair):
    writer, theirs = pair
    body = bytes(JOINED_BYTES + 1)

    with writer.held():
        writer.write(b"head")
    writer.write(body)

    assert theirs.recv(2 * JOINED_BYTES) == b"head"
    assert theirs.recv(2 * JOINED_BYTES) == body


def test_a_reader_that_takes_little_at_a_time_gets_all():
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    sent = bytes(range(256)) * 20_000
    with ours, theirs:
        writer = AnswerWriter(ours)
        thread = threading.Thread(target=writer.write, args=[sent])
        thread.start()
        found = bytearray()
        while len(found) < len(sent):
            found += theirs.recv(10_000)
        thread.join()

    assert found == sent
    assert writer.bytes_written == len(sent)


def test_what_is_not_taken_at_once_stays_and_goes_out_in_order():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    pieces = [bytes([number]) * 300_000 for number in range(4)]
    with ours, theirs:
        writer = AnswerWriter(ours)
        for piece in pieces:
            writer.write(piece)
        was_full = writer.is_full
        assert writer.taken_bytes() <= 0
        found = bytearray()
        while writer.is_full:
            found += theirs.recv(100_000)
            writer.proceed()
        while len(found) < 1_200_000:
            found += theirs.recv(100_000)
        taken = writer.taken_bytes()

    assert was_full
    assert found == b"".join(pieces)
    assert taken == writer.bytes_written == 1_200_000


def test_nothing_is_left_of_an_answer_once_the_connection_broke():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours:
        writer = AnswerWriter(ours)
        writer.write(bytes(2_000_000))
        theirs.close()

        with pytest.raises(ConnectionError):
            writer.proceed()
        assert not writer.is_full


@pytest.mark.parametrize("how", [ssl.SSLEOFError, ssl.SSLZeroReturnError])
def test_a_peer_that_has_gone_from_tls_is_one_that_has_gone(how):
    class Gone(socket.socket):
        def send(self, *_):
            raise how(8, "EOF occurred in violation of protocol")

    with pytest.raises(BrokenPipeError) as found, Gone() as gone:
        AnswerWriter(gone).write(b"answer")

    assert found.value.errno in socket_errors_to_ignore  # what cheroot says nothing about
