"""The server behind Debian's nginx with the configuration of deploy/: what it says of clients."""

import base64
import hashlib
import secrets

import httpx
import pytest

from tests.contract.native.test_wire import created, put_head
from tests.support.certificates import Authority
from tests.support.fronts import nginx
from tests.support.raw_http import Peer

FORGED = (
    "X-Client-Verify: SUCCESS\r\nX-Client-DN: CN=drone-9\r\n"
    "X-Real-IP: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nginx")


@pytest.fixture(scope="module")
def site(folder):
    with nginx(folder) as found:
        yield found


@pytest.fixture(scope="module")
def authority(site, folder):
    """The authority whose certificates that nginx takes."""
    return Authority.existing(folder / "ca")


def probe(peer, *headers: str):
    head = ["GET /v1?nonce=n HTTP/1.1", "Host: localhost", *headers, "", ""]
    peer.send("\r\n".join(head).encode())
    return peer.answer()


@pytest.mark.slow
def test_a_certificate_that_nginx_checked_is_its_device(site, authority):
    context = authority.client_context(authority.device("/O=a, b/CN=drone-7"))

    with Peer(site.address, context) as peer:
        assert probe(peer).json["device"] == "drone-7"


@pytest.mark.slow
def test_what_a_client_forges_does_not_come_through(site):
    with site.connect() as peer:
        answer = probe(peer, *FORGED.strip().split("\r\n"))

    assert answer.status == 200
    assert answer.json["device"] is None


@pytest.mark.slow
def test_links_are_https_as_the_client_sees_the_server(site):
    with site.connect() as peer:
        document = b'{"name":"a","length":1}'
        peer.send(
            b"POST /v1/uploads HTTP/1.1\r\nHost: ingest.example\r\nContent-Type: application/json\r\n"
            b"Idempotency-Key: 0123456789abcdef\r\nContent-Length: %d\r\n\r\n%s"
            % (len(document), document)
        )
        answer = peer.answer()

    # Open mode answers to its own names only; what matters is that the name came through.
    assert (answer.status, answer.json["code"]) == (421, "misdirected-request")
    assert "ingest.example" in answer.json["detail"]
    with site.connect() as peer:
        peer.send(
            b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Idempotency-Key: 0123456789abcdef\r\nContent-Length: %d\r\n\r\n%s"
            % (len(document), document)
        )
        assert peer.answer().headers["Location"].startswith("https://localhost/v1/uploads/")


@pytest.mark.slow
def test_a_large_body_comes_through_unchanged(site):
    data = bytes(range(256)) * 40_000
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    with httpx.Client(verify=site.tls, base_url=f"https://localhost:{site.address.port}") as client:
        document = {"name": "large", "length": len(data)}
        key = {"Idempotency-Key": secrets.token_hex(16)}
        upload_id = client.post("/v1/uploads", json=document, headers=key).json()["id"]
        where = {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
        client.put(f"/v1/uploads/{upload_id}/content", content=data, headers=where)
        document = {"length": len(data), "digest": f"sha-256=:{digest}:"}
        receipt = client.post(f"/v1/uploads/{upload_id}/complete", json=document)

    assert receipt.json()["verified_against"] == "client"


@pytest.mark.slow
def test_a_client_that_sends_on_hears_the_refusal(site):
    with site.connect() as peer:
        lines = ("Content-Range: bytes 0-9999999/*", "Content-Length: 10000000")
        peer.send(put_head(created(peer), *lines))  # 11 bytes were announced
        peer.send_until_refused(b"x" * 65536, 10_000_000)
        answer = peer.answer()

    assert (answer.status, answer.json["code"]) == (400, "invalid-range")


@pytest.mark.slow
def test_bytes_reach_the_server_before_the_request_is_whole(site):
    with site.connect() as peer, site.connect() as other:
        upload_id = created(peer)
        lines = ("Content-Range: bytes 0-10/11", "Content-Length: 11")
        peer.send(put_head(upload_id, *lines) + b"hello")
        received = 0
        while received < 5:
            other.send(f"GET /v1/uploads/{upload_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            received = other.answer().json["received_bytes"]

        peer.send(b" world")
        assert peer.answer().json["received"] == [[0, 11]]


@pytest.mark.slow
def test_a_refusal_before_the_body_is_never_lost(site):
    """By a client that reads only behind its whole body; unread bytes would reset the connection."""
    statuses = []
    for _ in range(20):
        with site.connect() as peer:
            lines = ("Content-Range: bytes 0-7999999/*", "Content-Length: 8000000")
            peer.send(put_head("0" * 32, *lines))
            peer.send(bytes(8_000_000))
            statuses.append(peer.answer().status)

    assert set(statuses) == {404}
