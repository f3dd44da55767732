"""What goes to a store that is not the server: the bytes, what was signed, and nothing of ours."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest

from edge_agent.base.errors import AbortedError, NotDirectError
from edge_agent.net.endpoint import Endpoint
from edge_agent.net.way import Way
from edge_agent.send.clients.native import NativeClient
from edge_agent.send.clients.straight import ToStore
from upload_protocol.digests import Digest
from upload_protocol.direct import SignedPart
from upload_protocol.ranges import ByteRange

DATA = b"twelve bytes"
URL = "https://store.example/bucket/key?X-Amz-Signature=secret"


class Store(httpx.BaseTransport):
    """Answers what it is told to, and remembers what it was sent."""

    def __init__(self, *answers):
        self.answers, self.seen = list(answers), []

    def handle_request(self, request):
        self.seen.append((request, request.read()))
        return self.answers.pop(0)


def part(url=URL):
    headers = {"x-amz-checksum-sha256": "abc", "if-none-match": "*"}
    return SignedPart(ByteRange(4, 16), Digest.of(DATA), "name", url, headers)


def to_store(store, server="https://ingest.example"):
    return ToStore(Endpoint(url=server), via=store)


def test_the_store_gets_the_bytes_and_what_was_signed_and_no_token():
    store = Store(httpx.Response(200))

    to_store(store).put(part(), iter([DATA]))

    [(request, body)] = store.seen
    assert (request.method, str(request.url), body) == ("PUT", URL, DATA)
    assert request.headers["x-amz-checksum-sha256"] == "abc"
    assert request.headers["content-length"] == "12"
    assert not {"authorization", "transfer-encoding", "cookie"} & set(request.headers)


def test_what_is_there_already_counts_as_sent():
    to_store(Store(httpx.Response(412))).put(part(), iter([DATA]))


def test_a_refusal_is_told_in_the_words_of_the_store_and_without_the_link():
    xml = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    store = Store(httpx.Response(403, content=xml))

    with pytest.raises(NotDirectError) as refused:
        to_store(store).put(part(), iter([DATA]))

    assert str(refused.value) == (
        "the store at store.example answers 403 (AccessDenied: Request has expired)"
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://store.example/key",
        "ftp://store.example/key",
        "https:///key",
        "https://[::1/key",
        "https://[",
        "https://store.example#/key",
        "https://store.example:port/key",
        "https://name@store.example/key",
        "/key",
    ],
)
def test_nothing_goes_where_it_is_less_safe_than_the_server_or_nowhere(url):
    store = Store()

    with pytest.raises(NotDirectError):
        to_store(store).put(part(url), iter([DATA]))

    assert store.seen == []


def test_a_server_without_tls_may_have_a_store_without():
    store = Store(httpx.Response(200))

    to_store(store, "http://127.0.0.1:8080").put(part("http://127.0.0.1:9/key"), iter([DATA]))

    assert len(store.seen) == 1


def test_nothing_is_sent_while_it_is_stopped():
    store = Store(httpx.Response(200))
    sending = to_store(store)
    sending.abort()

    with pytest.raises(AbortedError):
        sending.put(part(), iter([DATA]))
    sending.resume()
    sending.put(part(), iter([DATA]))

    assert len(store.seen) == 1


def test_a_name_that_is_none_is_a_failure_of_that_way_only():
    with pytest.raises(NotDirectError):
        ToStore(Endpoint(url="https://ingest.example")).put(part("https://xn--a/key"), iter([DATA]))


class Listening:
    """A store that takes what comes over one connection, and has it."""

    def __init__(self, listener):
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/key"
        self.got = b""
        self._listener = listener

    def serve(self):
        while True:
            try:
                live, _ = self._listener.accept()
            except OSError:
                return
            with live:
                while data := live.recv(65536):
                    self.got += data
                    if self.got.endswith(DATA):
                        live.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@contextmanager
def listening():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        store = Listening(listener)
        serving = threading.Thread(target=store.serve, daemon=True)
        serving.start()
        try:
            yield store
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join(5)


def test_nothing_goes_over_another_interface_than_the_rules_for_links_are_about():
    used = ["wwan7"]
    way = Way(interface=lambda: used[0])
    with listening() as store:
        sending = ToStore(Endpoint(url="http://ingest.example", way=way))
        with pytest.raises(NotDirectError, match="over lo, and the server over wwan7"):
            sending.put(part(store.url), iter([DATA]))
        before = store.got

        used[0] = "lo"
        sending.put(part(store.url), iter([DATA]))
        once = store.got

        used[0] = "wwan7"  # while the connection is kept
        with pytest.raises(NotDirectError, match="over lo, and the server over wwan7"):
            sending.put(part(store.url), iter([DATA]))
        sending.close()

    assert before == b""
    assert (once[:8], once[-len(DATA) :]) == (b"PUT /key", DATA)
    assert store.got == once


def test_while_bytes_go_to_the_store_its_connection_is_the_one_that_is_measured():
    server = Endpoint(url="http://127.0.0.1:9")
    with (
        listening() as store,
        NativeClient(server, token=lambda: None, utc=lambda: datetime.now(UTC)) as client,
    ):
        peers = []

        def body():
            live = client.live_socket()
            peers.append(None if live is None else live.getpeername()[1])
            yield DATA

        client.put_part(part(store.url), body())
        after = client.live_socket()

    assert peers == [int(store.url.rpartition(":")[2].partition("/")[0])]
    assert after is None
