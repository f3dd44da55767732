"""The application on a server that is not ours: the one of the standard library."""

import socketserver
import threading
import wsgiref.simple_server

import httpx
import pytest

from ingest_server.front.address import ListenAddress
from tests.support.ingest import ingest
from tests.support.raw_http import Peer

KEY = {"Idempotency-Key": "0123456789abcdef"}


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Threaded(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True
    block_on_close = True


@pytest.fixture
def address(tmp_path):
    with (
        ingest(tmp_path / "data") as made,
        wsgiref.simple_server.make_server("127.0.0.1", 0, made.app, Threaded, Quiet) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield ListenAddress("127.0.0.1", server.server_port)
        server.shutdown()
        thread.join()


@pytest.fixture
def upload_id(address):
    document = {"name": "clip.mp4", "length": 11}
    return httpx.post(f"{address.url}/v1/uploads", json=document, headers=KEY).json()["id"]


def test_a_recording_gets_through(address, upload_id):
    url = f"{address.url}/v1/uploads/{upload_id}"

    sent = httpx.put(
        f"{url}/content", content=b"hello world", headers={"Content-Range": "bytes 0-10/11"}
    )
    receipt = httpx.post(f"{url}/complete", json={"length": 11, "digest": None})

    assert sent.json()["received"] == [[0, 11]]
    assert receipt.status_code == 200


def test_a_body_that_ends_early_is_no_whole_body_though_the_server_does_not_say_so(
    address, upload_id
):
    with Peer(address) as peer:
        peer.send(
            f"PUT /v1/uploads/{upload_id}/content HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Range: bytes 0-10/11\r\nContent-Length: 11\r\n\r\nhello".encode()
        )
        peer.socket.shutdown(1)

        answer = peer.answer()

    assert answer.json["code"] == "body-truncated"
    assert answer.json["missing"] == [[5, 11]]
