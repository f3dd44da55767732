"""Answers that would hold the sender up, or fill its memory: each ends in time, as what it is."""

import gzip
import resource
import threading
import tracemalloc

import pytest

from edge_agent.base.errors import LinkDownError, NotOurServerError, ServerBusyError
from edge_agent.net import early_answer
from edge_agent.send.clients.responses import MAX_ANSWER_BYTES
from tests.support.hostile_answers import (
    ID,
    LENGTH,
    MIB,
    a_status,
    after_the_body,
    answering,
    as_json,
    client_of,
    for_ever,
    sent_to,
    take,
)
from upload_protocol.ranges import MAX_RANGES, ByteRange

PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


def test_informational_answers_without_end_are_a_broken_link():
    with answering(for_ever(PROCESSING * 10)) as port:
        error = sent_to(port)

    assert isinstance(error, LinkDownError)
    assert "informational" in str(error)


def test_informational_answers_without_end_do_not_hold_up_a_body_either():
    def serve(connection):
        take(connection, body=0)
        while True:
            connection.sendall(PROCESSING * 10)

    with answering(serve) as port:
        error = sent_to(port, length=64 * MIB)

    assert "informational" in str(error)


def test_as_many_informational_answers_as_a_patient_proxy_sends_are_no_fault():
    raw = PROCESSING * 100 + b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    with answering(after_the_body(raw)) as port:
        assert isinstance(sent_to(port), ServerBusyError)


@pytest.mark.parametrize(
    "piece",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 65536,
        b"HTTP/1.1 200 OK\r\n" + b"X-A: a\r\n" * 8192,
        b"HTTP/1.1 102 Processing\r\n" + b"X-A: a\r\n" * 8192,
        b"\x16\x03\x01\xff\x00garbage" * 8192,
    ],
    ids=["line", "head", "informational head", "garbage"],
)
def test_a_head_without_end_is_a_broken_link(piece):
    with answering(for_ever(piece)) as port:
        assert isinstance(sent_to(port), LinkDownError)


def test_a_body_without_end_is_none_of_our_servers():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"

    def serve(connection):
        take(connection, body=LENGTH)
        connection.sendall(head)
        while True:
            connection.sendall(b" " * 65536)

    with answering(serve) as port:
        assert isinstance(sent_to(port), NotOurServerError)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        pytest.param(
            lambda: a_status([[2 * at, 2 * at + 1] for at in range(250_000)]),
            f"longer than {MAX_ANSWER_BYTES} bytes",
            id="ranges that fill the length",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda: a_status([[2 * at, 2 * at + 1] for at in range(MAX_RANGES + 1)]),
            "'received' has more than 1024 ranges",
            id="a range too many",
        ),
        pytest.param(
            lambda: b"[" + b"{}," * 40_000 + b"{}]",
            "a document of more than 16384 parts",
            id="objects",
        ),
        pytest.param(lambda: b"[" * 16_000, "no JSON document", id="depth"),
        pytest.param(lambda: b'{"id":' + b"9" * 100_000 + b"}", "no JSON document", id="a number"),
    ],
)
def test_an_answer_that_would_grow_in_memory_is_none_of_our_servers(document, why):
    with answering(after_the_body(as_json(document()))) as port:
        tracemalloc.start()
        error = sent_to(port)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert isinstance(error, NotOurServerError)
    assert why in str(error)
    assert peak < 2 * MIB  # of 250,000 ranges it was some 130


def test_the_most_ranges_that_a_server_has_are_read():
    far = 2**63 - 2 * MAX_RANGES
    received = [[far + 2 * at, far + 2 * at + 1] for at in range(MAX_RANGES)]
    with answering(after_the_body(as_json(a_status(received)))) as port, client_of(port) as client:
        status = client.send(ID, ByteRange(0, LENGTH), LENGTH, iter([bytes(LENGTH)]))

    assert len(status.received) == MAX_RANGES


def test_the_most_block_digests_that_a_server_gives_are_read():
    blocks = ",".join(f'"{10**15 + at}":"{"0" * 64}"' for at in range(4096))
    document = f'{{"size":1048576,"blocks":{{{blocks}}},"next":4096}}'.encode()

    def serve(connection):
        take(connection, body=0)
        connection.sendall(as_json(document))

    with answering(serve) as port, client_of(port) as client:
        answer = client.blocks(ID, block_bytes=MIB, start=0, limit=4096)

    assert len(answer.blocks) == 4096


@pytest.mark.slow
def test_a_compressed_answer_fills_no_memory():
    bomb = gzip.compress(bytes(256 * MIB), 9)
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
        f"Content-Length: {len(bomb)}\r\n\r\n"
    )
    with answering(after_the_body(head.encode() + bomb)) as port:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        error = sent_to(port)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert isinstance(error, NotOurServerError)
    assert grown < 32 * 1024  # KiB; unpacked as it came it was 130 MiB


def test_an_answer_that_trickles_in_is_given_up(monkeypatch):
    monkeypatch.setattr(early_answer, "_ANSWER_S", 0.2)
    over = threading.Event()

    def serve(connection):
        take(connection, body=LENGTH)
        for letter in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 1000:
            connection.sendall(bytes([letter]))
            if over.wait(0.05):
                return

    with answering(serve) as port:
        error = sent_to(port)
        over.set()

    assert "trickles" in str(error)


@pytest.mark.parametrize("status", ["101 Switching", "000 None", "99 Short", "abc OK"])
def test_a_status_that_is_none_is_a_broken_link(status):
    raw = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    with answering(after_the_body(raw)) as port:
        assert isinstance(sent_to(port), LinkDownError)
