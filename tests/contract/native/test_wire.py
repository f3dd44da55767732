"""The native protocol byte by byte, as a client without any library would speak it.

To our own container, plain and with TLS; to gunicorn; and through nginx. Where they differ is said
in each test, and in docs/deployment.md for whoever chooses among them.
"""

import re
import secrets
from collections.abc import Iterator

import pytest

from tests.support.fronts import Front, front
from tests.support.ingest import ingest
from tests.support.raw_http import Peer, serving

SLOW = pytest.mark.slow
FRONTS = [
    "own",
    "own TLS",
    pytest.param("gunicorn", marks=SLOW),
    pytest.param("nginx", marks=SLOW),
]

CREATE_BODY = b'{"name":"clip.mp4","folder":"","length":11,"device":"drone-1"}'
CREATE = (
    b"POST /v1/uploads HTTP/1.1\r\n"
    b"Host: localhost\r\n"
    b"Idempotency-Key: 6f1c4b5e2d7a4c0f9b3e8d1a2c5f7e90\r\n"
    b"Content-Type: application/json\r\n"
    b"Content-Length: 62\r\n"
    b"\r\n" + CREATE_BODY
)


@pytest.fixture(scope="module", params=FRONTS)
def site(request, tmp_path_factory) -> Iterator[Front]:
    with front(request.param, tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def peer(site):
    with site.connect() as found:
        yield found


@pytest.fixture
def made(tmp_path):
    with ingest(tmp_path / "data") as found:
        yield found


def created(peer) -> str:
    """Create an upload of its own, although the server is one for all tests."""
    key = secrets.token_hex(16).encode()
    peer.send(CREATE.replace(b"6f1c4b5e2d7a4c0f9b3e8d1a2c5f7e90", key))
    answer = peer.answer()
    assert answer.status == 201, answer.body
    return answer.json["id"]


def put_head(upload_id: str, *lines: str) -> bytes:
    head = [f"PUT /v1/uploads/{upload_id}/content HTTP/1.1", "Host: localhost", *lines, "", ""]
    return "\r\n".join(head).encode()


def wait_until_received(connect, upload_id: str, pairs) -> None:
    """Ask until so much is durable; each question seals what has arrived."""
    with connect() as peer:
        received = None
        while received != pairs:
            peer.send(f"GET /v1/uploads/{upload_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            received = peer.answer().json["received"]


def test_one_recording_byte_by_byte(peer):
    upload_id = created(peer)
    assert re.fullmatch(r"[0-9a-f]{32}", upload_id)

    peer.send(put_head(upload_id, "Content-Range: bytes 0-4/11", "Content-Length: 5") + b"hello")
    assert peer.answer().json["received"] == [[0, 5]]

    peer.send(f"HEAD /v1/uploads/{upload_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    status = peer.answer(has_body=False)
    assert (status.headers["Upload-Offset"], status.headers["Upload-Length"]) == ("5", "11")

    peer.send(put_head(upload_id, "Content-Range: bytes 5-10/*", "Content-Length: 6") + b" world")
    assert peer.answer().json["received"] == [[0, 11]]

    body = b'{"length":11,"digest":"sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:"}'
    peer.send(
        f"POST /v1/uploads/{upload_id}/complete HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    receipt = peer.answer()

    assert receipt.status == 200
    assert receipt.json["verified_against"] == "client"
    assert receipt.json["digest"] == "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:"


def test_what_arrived_of_a_stalled_body_is_kept_and_told(site, peer):
    upload_id = created(peer)

    peer.send(put_head(upload_id, "Content-Range: bytes 0-10/11", "Content-Length: 11") + b"hello")
    if site.name == "nginx":  # it hangs up on such a client without a word
        assert peer.is_closed_by_server()
    else:
        answer = peer.answer()
        assert (answer.status, answer.json["code"]) == (408, "request-timeout")
        assert answer.json["missing"] == [[5, 11]]
        assert answer.headers["Connection"] == "close" or not site.is_ours
    wait_until_received(site.connect, upload_id, [[0, 5]])


def test_what_arrived_of_a_broken_body_is_kept(site, peer):
    upload_id = created(peer)
    head = put_head(upload_id, "Content-Range: bytes 0-10/11", "Content-Length: 11")
    peer.send(head + b"hello")
    if site.name == "nginx":  # what it has not passed on by then, it drops; nor does it answer
        wait_until_received(site.connect, upload_id, [[0, 5]])
    peer.half_close()

    if site.name != "nginx":
        assert peer.answer().json["code"] == "body-truncated"
    wait_until_received(site.connect, upload_id, [[0, 5]])


def test_a_retry_takes_over_at_once_from_a_request_whose_link_died(site, peer):
    upload_id = created(peer)
    head = put_head(upload_id, "Content-Range: bytes 0-10/11", "Content-Length: 11")
    peer.send(head + b"hel")
    wait_until_received(site.connect, upload_id, [[0, 3]])

    with site.connect() as retry:
        retry.send(head + b"hello world")
        assert retry.answer().json["received"] == [[0, 11]]

    answer = peer.answer()
    if site.name != "nginx":  # it may have given the body up by then
        assert answer.json["code"] == "superseded"


def test_two_pipelined_puts_are_both_taken(peer):
    upload_id = created(peer)

    peer.send(
        put_head(upload_id, "Content-Range: bytes 0-4/11", "Content-Length: 5")
        + b"hello"
        + put_head(upload_id, "Content-Range: bytes 5-10/11", "Content-Length: 6")
        + b" world"
    )

    assert [peer.answer().status, peer.answer().json["received"]] == [200, [[0, 11]]]


@pytest.mark.parametrize(
    ("lines", "status", "code"),
    [
        (["Content-Range: bytes 0-4/11", "Transfer-Encoding: chunked"], 411, "length-required"),
        (["Content-Range: bytes 0-4/11"], 411, "length-required"),
        (
            ["Content-Range: bytes 0-9999/10000", "Content-Length: 10000"],
            400,
            "inconsistent-length",
        ),
        (["Content-Length: 5"], 400, "invalid-range"),
        (
            ["Content-Range: bytes 0-4/11", "Content-Length: 5", "Content-Encoding: gzip"],
            415,
            "unsupported-media-type",
        ),
    ],
)
def test_a_refused_put_is_answered_before_its_body(site, peer, lines, status, code):
    upload_id = created(peer)

    peer.send(put_head(upload_id, *lines, "Expect: 100-continue"))
    answer = peer.answer()

    assert (answer.status, answer.json["code"]) == (status, code)
    if site.is_ours:  # others send 100 Continue before they ask the application
        assert answer.interim == ()


def test_an_upload_that_is_complete_refuses_a_body_unread(site, peer):
    upload_id = created(peer)
    peer.send(f"DELETE /v1/uploads/{upload_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert peer.answer().json["state"] == "aborted"

    lines = ("Content-Range: bytes 0-10/11", "Content-Length: 11", "Expect: 100-continue")
    peer.send(put_head(upload_id, *lines))
    answer = peer.answer()

    assert (answer.status, answer.json["code"]) == (410, "upload-aborted")
    if site.is_ours:
        assert answer.interim == ()


def test_401_reaches_a_client_that_sends_on(tmp_path):
    with (
        ingest(tmp_path / "data", mode="token") as made,
        serving(made.app) as server,
        Peer(server.address) as peer,
    ):
        lines = ("Content-Range: bytes 0-49999999/50000000", "Content-Length: 50000000")
        peer.send(put_head("0" * 32, *lines))
        peer.send_until_refused(b"x" * 65536, 50_000_000)

        assert peer.answer().status == 401


def test_a_stop_seals_what_arrived_of_a_running_body(made):
    with (
        serving(made.app, read_timeout_s=60, stop_timeout_s=0.1) as server,
        Peer(server.address) as peer,
    ):
        upload_id = created(peer)
        head = put_head(upload_id, "Content-Range: bytes 0-10/11", "Content-Length: 11")
        peer.send(head + b"hello")
        wait_until_received(lambda: Peer(server.address), upload_id, [[0, 5]])

        server.stop()

        assert peer.answer().json["missing"] == [[5, 11]]
    assert made.receiver.status(None, upload_id).received.to_pairs() == [[0, 5]]


ODD_ELSEWHERE = {
    ("gunicorn", b"GET /v1 HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\n"): 417,
    ("nginx", b"GET /v1/uploads/%ff%00 HTTP/1.1\r\nHost: localhost\r\n"): 400,
    ("nginx", b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n"): 400,
    ("nginx", b"GET /livez HTTP/1.0\r\n"): 400,  # it speaks 1.1 to us, where Host is a must
}
"""What a front answers in its own way."""


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /v1/uploads/%ff%00 HTTP/1.1\r\nHost: localhost\r\n", 404),
        (b"GET /v1?nonce=%ff HTTP/1.1\r\nHost: localhost\r\n", 400),
        (b"GET /v1?%%%=1&nonce HTTP/1.1\r\nHost: localhost\r\n", 200),
        (b"GET /v1/uploads/{upload_id} HTTP/1.1\r\nHost: localhost\r\n", 404),
        (b"GET /v1 HTTP/1.1\r\nHost: \xff\r\n", 421),
        (b"GET /v1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\r\n", 200),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n", 404),
        (b"BREW /v1 HTTP/1.1\r\nHost: localhost\r\n", 400),
        (b"GET /livez HTTP/1.0\r\n", 200),
        (b"GET /v1 HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\n", 200),
    ],
)
def test_an_odd_request_is_answered_and_is_no_server_error(site, peer, head, status):
    peer.send(head + b"\r\n")

    assert peer.answer().status == ODD_ELSEWHERE.get((site.name, head), status)
