"""Chunked bodies: every byte once, and no cut one taken for a whole one."""

import io
import socket

import pytest

from ingest_server.front.body import CONTINUE, BodyInterruptedError, BodyTruncatedError, Patience
from ingest_server.front.chunked import ChunkedBody, UnmeasuredStreamBody, unmeasured_body_of
from tests.support.came_early import Buffered
from tests.support.raw_http import Peer, serving

WHOLE = b"4\r\nwiki\r\n6;name=value\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\n\r\n"
TEXT = b"wikipedia in \r\n\r\nchunks."


def chunked(ours, early=b"", **more):
    patience = Patience(read_timeout_s=5.0)
    return ChunkedBody(ours, Buffered(early), patience=patience, now_s=lambda: 0.0, **more)


def read_all(body, size=1024):
    found, buffer = bytearray(), bytearray(size)
    while count := body.readinto(memoryview(buffer)):
        found += buffer[:count]
    return bytes(found)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1024])
def test_the_chunks_are_put_together(pair, size):
    ours, theirs = pair
    theirs.sendall(WHOLE)

    body = chunked(ours)

    assert read_all(body, size) == TEXT
    assert body.received == len(TEXT)
    assert body.is_spent
    assert body.readinto(memoryview(bytearray(1))) == 0


def test_chunks_of_one_byte_that_are_here_are_taken_together(pair):
    ours, _ = pair
    body = chunked(ours, b"1\r\na\r\n" * 500 + b"0\r\n\r\n")
    buffer = memoryview(bytearray(1000))

    counts = [body.readinto(buffer), body.readinto(buffer)]

    assert (counts, bytes(buffer[:500]), body.received) == ([500, 0], b"a" * 500, 500)
    assert body.is_spent


def test_what_came_before_an_odd_chunk_is_returned_before_it_is_refused(pair):
    ours, theirs = pair
    theirs.sendall(b"1\r\na\r\n1\r\nb\r\nnonsense\r\nc\r\n")
    body = chunked(ours)
    buffer = memoryview(bytearray(10))

    assert bytes(buffer[: body.readinto(buffer)]) == b"ab"
    with pytest.raises(BodyTruncatedError):
        body.readinto(buffer)


@pytest.mark.parametrize("cut", range(len(WHOLE)))
def test_what_came_with_the_headers_is_part_of_it(pair, cut):
    ours, theirs = pair
    theirs.sendall(WHOLE[cut:])

    assert read_all(chunked(ours, early=WHOLE[:cut])) == TEXT


@pytest.mark.parametrize("cut", range(len(WHOLE)))
def test_a_cut_body_is_never_taken_for_a_whole_one(pair, cut):
    ours, theirs = pair
    theirs.sendall(WHOLE[:cut])
    theirs.shutdown(socket.SHUT_WR)
    body = chunked(ours)

    with pytest.raises(BodyTruncatedError):
        read_all(body)
    assert not body.is_spent


def test_trailers_are_dropped(pair):
    ours, theirs = pair
    theirs.sendall(b"2\r\nab\r\n0\r\nUpload-Checksum: sha1 x\r\nAnother: one\r\n\r\n")

    assert read_all(chunked(ours)) == b"ab"


@pytest.mark.parametrize(
    "broken",
    [
        b"zz\r\nab\r\n",
        b"-2\r\nab\r\n",
        b"0x2\r\nab\r\n",
        b"\r\nab",
        b"2\nab\n0\n\n",
        b"2\r\nabc\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFFF\r\nab",
        b"2;" + b"x" * 20_000,
        b"0\r\n" + b"A: b\r\n" * 2000,
    ],
)
def test_what_is_no_chunk_ends_the_body(pair, broken):
    ours, theirs = pair
    theirs.sendall(broken)

    with pytest.raises(BodyTruncatedError):
        read_all(chunked(ours))


def test_continue_is_sent_at_the_first_read(pair):
    ours, theirs = pair
    body = chunked(ours, early=WHOLE, expects_continue=True)

    read_all(body)

    assert theirs.recv(1000) == CONTINUE


def test_an_interrupted_body_gives_nothing_more(pair):
    ours, theirs = pair
    theirs.sendall(WHOLE)
    body = chunked(ours)

    body.interrupt()

    with pytest.raises(BodyInterruptedError):
        read_all(body)


def test_an_application_may_read_it_like_a_file(pair):
    ours, theirs = pair
    theirs.sendall(WHOLE)
    body = chunked(ours)

    assert body.read(4) == b"wiki"
    assert body.readline() == b"pedia in \r\n"
    assert body.read() == b"\r\nchunks."


def test_a_foreign_server_says_whether_it_can_tell_an_end_from_a_cut():
    stream = io.BytesIO(b"abc")

    assert unmeasured_body_of({"wsgi.input": stream}) is None
    body = unmeasured_body_of({"wsgi.input": stream, "wsgi.input_terminated": True})
    assert isinstance(body, UnmeasuredStreamBody)
    assert read_all(body) == b"abc"


def test_after_a_chunked_body_the_answer_comes_and_the_connection_ends_at_once():
    def app(environ, start_response):
        content = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", str(len(content)))])
        return [content]

    head = b"POST / HTTP/1.1\r\nHost: ingest\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(app) as server, Peer(server.address) as peer:
        peer.send(head + WHOLE)

        assert peer.answer().body == TEXT
        peer.socket.settimeout(1.0)  # less than the time for which it would linger
        assert peer.is_closed_by_server()
