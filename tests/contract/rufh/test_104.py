"""104 (Upload Resumption Supported): to whom our own server sends it, and what it makes possible."""

import re

import pytest

from ingest_server.front.interim import Interim
from tests.support.ingest import ingest
from tests.support.raw_http import Peer, serving

DATA = b"a recording, or at least its first bytes"
INTEROP = "Upload-Draft-Interop-Version: 9"


@pytest.fixture
def app():
    with ingest() as made:
        yield made.app


@pytest.fixture
def server(app):
    with serving(app) as found:
        yield found


def creation(*lines: str, version: str = "1.1", length: int = len(DATA)) -> bytes:
    head = [
        f"POST /files/ HTTP/{version}",
        "Host: localhost",
        "Upload-Complete: ?1",
        f"Content-Length: {length}",
        *lines,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def heard_one(peer) -> tuple[int, dict[str, str]]:
    lines = peer.head().split("\r\n")
    return int(lines[0].split(" ")[1]), dict(one.lower().split(": ", 1) for one in lines[1:])


def test_the_upload_is_told_before_its_first_byte(server):
    with Peer(server.address) as peer:
        peer.send(creation(INTEROP))
        status, told = heard_one(peer)
        peer.send(DATA)
        final = peer.answer()

    assert (status, told["upload-offset"]) == (104, "0")
    assert told["location"] == final.headers["Location"]
    assert told["upload-limit"] == final.headers["Upload-Limit"]
    assert told["upload-draft-interop-version"] == "9"
    assert final.status == 201


def test_L1_a_first_request_that_breaks_is_gone_on_with(server):
    with Peer(server.address) as peer:
        peer.send(creation(INTEROP))
        _, told = heard_one(peer)
        peer.send(DATA[:9])
    path = re.sub(r"^https?://[^/]*", "", told["location"])
    with Peer(server.address) as peer:
        peer.send(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n{INTEROP}\r\n\r\n".encode())
        offset = int(peer.answer(has_body=False).headers["Upload-Offset"])
        rest = DATA[offset:]
        fields = f"Content-Type: application/partial-upload\r\nUpload-Offset: {offset}\r\n"
        fields += f"Upload-Complete: ?1\r\nContent-Length: {len(rest)}\r\n"
        peer.send(f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode() + rest)
        final = peer.answer()

    assert 0 <= offset <= 9
    assert (final.status, final.json["length"]) == (200, len(DATA))


def test_whoever_waits_for_100_is_told_both(server):
    with Peer(server.address) as peer:
        peer.send(creation(INTEROP, "Expect: 100-continue"))
        statuses = [heard_one(peer)[0], heard_one(peer)[0]]
        peer.send(DATA)

        assert (statuses, peer.answer().status) == ([104, 100], 201)


def test_a_chunked_body_is_told_of_too(server):
    head = creation(INTEROP, "Transfer-Encoding: chunked")
    with Peer(server.address) as peer:
        peer.send(re.sub(rb"Content-Length: \d+\r\n", b"", head))
        assert heard_one(peer)[0] == 104
        peer.send(b"3\r\nabc\r\n0\r\n\r\n")

        assert peer.answer().status == 201


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("Upload-Draft-Interop-Version: 3",),
        (INTEROP, "Via: 1.1 cache"),
        (INTEROP, "Forwarded: for=192.0.2.1"),
        (INTEROP, "X-Forwarded-For: 192.0.2.1"),
        (INTEROP, "x-forwarded-port: 443"),
        (INTEROP, "X-Real-IP: 192.0.2.1"),
        (INTEROP, "Repr-Digest: nonsense"),
    ],
    ids=lambda lines: " ".join(lines) or "no version",
)
def test_nobody_else_gets_one(server, lines):
    assert answers_to(server, *lines)[0] == ()


def test_a_client_of_http_1_0_gets_none(server):
    assert answers_to(server, INTEROP, version="1.0") == ((), 201)


def test_a_body_that_is_empty_is_answered_at_once(server):
    with Peer(server.address) as peer:
        peer.send(creation(INTEROP, length=0))

        assert peer.answer().interim == ()


def answers_to(server, *lines: str, version: str = "1.1") -> tuple[tuple[int, ...], int]:
    with Peer(server.address) as peer:
        peer.send(creation(*lines, version=version) + DATA)
        answer = peer.answer()
        return answer.interim, answer.status


@pytest.mark.parametrize(
    ("keys", "interim"),
    [
        ({}, (104,)),
        ({"behind_proxy": True}, ()),
        ({"interim": Interim.NEVER}, ()),
        ({"interim": Interim.ALWAYS, "behind_proxy": True}, (104,)),
    ],
)
def test_a_proxy_that_is_believed_gets_none_unless_the_switch_says_so(app, keys, interim):
    with serving(app, **keys) as server:
        assert answers_to(server, INTEROP) == (interim, 201)


@pytest.mark.parametrize(("when", "interim"), [(Interim.DIRECT, ()), (Interim.ALWAYS, (104,))])
def test_whoever_comes_by_a_unix_socket_is_a_proxy(app, tmp_path, when, interim):
    with serving(app, listen=f"unix:{tmp_path}/s", interim=when) as server:
        assert answers_to(server, INTEROP) == (interim, 201)


def test_the_next_request_of_the_connection_is_answered_as_ever(server):
    with Peer(server.address) as peer:
        answers = []
        for _ in range(2):
            peer.send(creation(INTEROP) + DATA)
            answers.append(peer.answer())

    assert [(answer.status, answer.interim) for answer in answers] == [(201, (104,))] * 2
