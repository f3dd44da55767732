"""What the server's TLS socket hands over at once, and what it leaves for the next read."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest_server.front.tls import TlsFiles, TlsSocket, server_context
from tests.support.certificates import Authority

RECORD_BYTES = 16 * 1024
DATA = os.urandom(5 * RECORD_BYTES + 17)

Pair = tuple[TlsSocket, ssl.SSLSocket]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def pair(authority: Authority, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The server's socket and its peer, over TLS of the version that is asked for."""
    keys = authority.server()
    context = authority.client_context()
    context.maximum_version = ssl.TLSVersion[request.param]
    ours, theirs = socket.socketpair()
    shaken: list[ssl.SSLSocket] = []
    peer = threading.Thread(
        target=lambda: shaken.append(context.wrap_socket(theirs, server_hostname="127.0.0.1"))
    )
    peer.start()
    made = server_context(TlsFiles(keys.cert, keys.key)).wrap_socket(ours, server_side=True)
    peer.join()
    assert isinstance(made, TlsSocket)
    made.settimeout(30)
    with made, shaken[0] as client:
        yield made, client


def arrived(one: socket.socket, count: int) -> None:
    """Wait until *count* bytes, at least, are in the kernel's hands."""
    until_s = time.monotonic() + 30
    while len(socket.socket.recv(one, count, socket.MSG_PEEK | socket.MSG_DONTWAIT)) < count:
        assert time.monotonic() < until_s


def test_all_records_that_are_here_are_taken_at_once(pair: Pair):
    ours, theirs = pair
    theirs.sendall(DATA)
    arrived(ours, len(DATA))
    buffer = bytearray(2 * len(DATA))

    got = ours.recv_into(buffer)

    assert (got, bytes(buffer[:got])) == (len(DATA), DATA)
    assert ours.gettimeout() == 30


def test_what_does_not_fit_is_left_and_told_of(pair: Pair):
    ours, theirs = pair
    theirs.sendall(DATA)
    arrived(ours, len(DATA))
    buffer, rest = bytearray(RECORD_BYTES + 100), bytearray(len(DATA))

    assert ours.recv_into(buffer) == len(buffer)

    assert ours.pending() == RECORD_BYTES - 100
    got = ours.recv_into(rest)
    assert bytes(buffer) + bytes(rest[:got]) == DATA


def test_an_end_behind_the_bytes_is_found_by_the_next_read(pair: Pair):
    ours, theirs = pair
    theirs.sendall(DATA)
    theirs.settimeout(0)
    with pytest.raises(ssl.SSLWantReadError):
        theirs.unwrap()  # its goodbye goes out; ours is not waited for
    buffer = bytearray(2 * len(DATA))
    arrived(ours, len(DATA))

    assert ours.recv_into(buffer) == len(DATA)
    assert ours.recv_into(buffer) == 0


def test_a_read_that_waits_in_vain_times_out(pair: Pair):
    ours, _ = pair
    ours.settimeout(0.01)

    with pytest.raises(TimeoutError):
        ours.recv_into(bytearray(10))

    assert ours.gettimeout() == 0.01


def test_of_a_record_that_is_not_whole_nothing_is_handed_over(pair: Pair):
    ours, theirs = pair
    theirs.sendall(b"whole")
    buffer = bytearray(100)
    assert ours.recv_into(buffer) == 5
    socket.socket.send(theirs, b"\x17\x03\x03\x40")  # the beginning of a record's head
    arrived(ours, 4)
    ours.settimeout(0)

    with pytest.raises(ssl.SSLWantReadError):
        ours.recv_into(buffer)
