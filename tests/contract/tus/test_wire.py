"""tus: bodies without a length and links that die, on our own container."""

import hashlib
import os
import socket

import httpx
import pytest

from tests.support.plain import plain_client
from tests.support.raw_http import Peer, serving
from tests.support.tus_client import (
    BYTES,
    CHECKSUM_MISMATCH,
    DATA,
    b64,
    made,
    offset,
    patch,
    published,
)


@pytest.fixture
def running(server):
    with serving(server.app) as found:
        yield found


@pytest.fixture
def own(running):
    with plain_client(running.address.url) as found:
        yield found


def test_a_chunked_body_is_taken(own, server):
    url = made(own)

    answer = patch(own, url, iter([DATA[:3], DATA[3:]]))

    assert answer.status_code == 204
    assert published(server) == {"unnamed": DATA}


def test_a_chunked_body_with_its_creation_may_have_no_length(own, server):
    headers = {**BYTES, "Upload-Defer-Length": "1"}

    answer = own.post("/files/", headers=headers, content=iter([DATA[:3], DATA[3:]]))

    assert answer.headers["Upload-Offset"] == str(len(DATA))
    url = answer.headers["Location"]
    patch(own, url, b"", len(DATA), Upload_Length=str(len(DATA)))
    assert published(server) == {"unnamed": DATA}


def test_a_chunked_body_past_the_length_is_refused_and_never_looks_whole(own, server):
    url = made(own)

    answer = patch(own, url, iter([DATA, b"and more"]))

    assert answer.status_code == 413
    assert offset(own, url) < len(DATA)
    assert published(server) == {}


def test_a_chunked_body_is_checked_too(own):
    url = made(own)
    right = f"sha1 {b64(hashlib.sha1(DATA[:9]).digest())}"

    wrong = patch(own, url, iter([b"x" * 9]), Upload_Checksum=right)
    assert (wrong.status_code, offset(own, url)) == (CHECKSUM_MISMATCH, 0)

    assert patch(own, url, iter([DATA[:9]]), Upload_Checksum=right).status_code == 204


def raw_patch(url: str, start: int, *lines: str) -> bytes:
    head_ = [
        f"PATCH {httpx.URL(url).path} HTTP/1.1",
        "Host: localhost",
        "Tus-Resumable: 1.0.0",
        "Content-Type: application/offset+octet-stream",
        f"Upload-Offset: {start}",
        *lines,
    ]
    return ("\r\n".join(head_) + "\r\n\r\n").encode()


def test_a_cut_chunked_body_is_kept_as_prefix(own, running):
    url = made(own)
    with Peer(running.address) as peer:
        peer.send(raw_patch(url, 0, "Transfer-Encoding: chunked", "Expect: 100-continue"))
        assert peer.socket.recv(100).startswith(b"HTTP/1.1 100")  # it waits for bytes now
        peer.send(b"A\r\n" + DATA[:10] + b"\r\n5")
        peer.socket.shutdown(socket.SHUT_WR)
        answer = peer.answer()

    assert (answer.status, answer.headers["Upload-Offset"]) == (400, "10")
    assert offset(own, url) == 10
    assert patch(own, url, DATA[10:], 10).status_code == 204


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_L8_a_retry_takes_over_at_once_from_a_request_whose_link_died(own, running, framing):
    """The old connection stays open and silent, as after a dropped mobile link."""
    data = os.urandom(1_000_000)
    url = made(own, len(data))
    with Peer(running.address) as dead:
        dead.send(raw_patch(url, 0, framing, "Expect: 100-continue"))
        assert dead.socket.recv(100).startswith(b"HTTP/1.1 100")  # it waits for bytes now
        dead.send((b"493e0\r\n" if "chunked" in framing else b"") + data[:300_000])
        own.timeout = 1.0

        start = offset(own, url)  # all of it, or what had come by then
        answer = patch(own, url, data[start:], start)

    assert answer.status_code == 204
    assert answer.headers["Repr-Digest"] == f"sha-256=:{b64(hashlib.sha256(data).digest())}:"


def test_L8_a_patch_at_the_offset_takes_over_without_asking(own, running):
    url = made(own)
    with Peer(running.address) as dead:
        dead.send(raw_patch(url, 0, f"Content-Length: {len(DATA)}", "Expect: 100-continue"))
        assert dead.socket.recv(100).startswith(b"HTTP/1.1 100")  # it waits for bytes now
        own.timeout = 1.0

        answer = patch(own, url, DATA)

        assert answer.status_code == 204
        assert dead.answer().status == 409


def test_a_refusal_comes_before_the_body(own, running):
    url = made(own)
    with Peer(running.address) as peer:
        peer.send(raw_patch(url, 7, "Content-Length: 1000000", "Expect: 100-continue"))

        answer = peer.answer()

    assert (answer.status, answer.interim) == (409, ())
    assert answer.headers["Upload-Offset"] == "0"
