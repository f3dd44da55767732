import socket
import threading

import pytest

from ingest_server.answering import JOINED_BYTES, AnswerWriter


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
