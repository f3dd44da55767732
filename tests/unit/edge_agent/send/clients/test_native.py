"""HTTP on real sockets: options, aborting, and answers that are none of ours."""

import socket
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from edge_agent.base.errors import (
    AbortedError,
    ConfigError,
    LinkDownError,
    NotOurServerError,
    SourceChangedError,
    TransportError,
    UnauthorizedError,
)
from edge_agent.net import stream
from edge_agent.net.connect import dial
from edge_agent.net.endpoint import Endpoint
from edge_agent.send.clients.native import NativeClient
from upload_protocol.messages import CreateRequest
from upload_protocol.ranges import ByteRange

ID = "0" * 32
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def transport(port, *, token=lambda: None, **more):
    url = more.pop("url", f"http://127.0.0.1:{port}")
    return NativeClient(Endpoint(url=url, **more), token=token, utc=lambda: NOW)


@contextmanager
def server(serve):
    """Serve each connection with *serve* in a thread; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections = []

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(connection)
                try:
                    serve(connection)
                except OSError:
                    continue

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in list(connections):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            thread.join(20)  # only then it is known that no further one was accepted
            for connection in connections:
                connection.close()


def answering(raw, heard=None):
    def serve(connection):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return
            data += piece
        if heard is not None:
            heard.append(data)
        connection.sendall(raw)
        connection.close()

    return serve


def http(status, content_type, body, *more):
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "Connection: close", *more, "", ""]).encode() + body


@pytest.mark.parametrize(
    "raw",
    [
        http("200 OK", "text/html", b"<html>login</html>"),
        http("200 OK", "application/json", b"[]"),
        http("200 OK", "application/json", b"{"),
        http("200 OK", "application/json", b"[" * 100_000),
        http("302 Found", "text/html", b"", "Location: http://portal/"),
        http("301 Moved", "text/html", b"", "Location: https://127.0.0.1/"),
        http("404 Not Found", "text/html", b"nginx"),
        http("407 Proxy", "text/html", b"login"),
        http("401 Unauthorized", "text/html", b"login"),
        http("200 OK", "application/json", b" " * (5 << 20)),
        http("200 OK", "application/json", b"\x1f\x8bbroken", "Content-Encoding: gzip"),
    ],
)
def test_an_answer_that_is_none_of_ours_is_called_so(raw):
    with (
        server(answering(raw)) as port,
        transport(port) as client,
        pytest.raises(NotOurServerError),
    ):
        client.status(ID)


@pytest.mark.parametrize("raw", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_half_an_answer_is_a_broken_link(raw):
    with server(answering(raw)) as port, transport(port) as client, pytest.raises(LinkDownError):
        client.status(ID)


def test_a_probe_without_our_nonce_is_a_captive_portal():
    document = (
        b'{"protocols":[1],"nonce":"cached","now":"2026-11-21T00:00:00Z","limits":{},"device":null}'
    )
    raw = http("200 OK", "application/json", document)
    with (
        server(answering(raw)) as port,
        transport(port) as client,
        pytest.raises(NotOurServerError, match="question"),
    ):
        client.probe("fresh")


def test_a_server_of_another_protocol_is_told_from_no_server():
    document = b'{"protocols":[2],"nonce":"n","now":"2026-11-21T00:00:00Z","device":null}'
    raw = http("200 OK", "application/json", document)
    with (
        server(answering(raw)) as port,
        transport(port) as client,
        pytest.raises(NotOurServerError, match="upgrade"),
    ):
        client.probe("n")


def test_nobody_there_is_a_link_that_is_down():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with transport(port) as client, pytest.raises(LinkDownError, match="refused"):
        client.status(ID)


def test_the_token_goes_to_the_server_and_is_read_anew_each_time():
    heard: list[Any] = []
    raw = http("503 Busy", "text/plain", b"")
    tokens = iter(["first", "second\n"])
    with (
        server(answering(raw, heard)) as port,
        transport(port, token=lambda: next(tokens)) as client,
    ):
        for _ in range(2):
            with pytest.raises(Exception, match="503"):
                client.status(ID)

    assert b"authorization: bearer first\r\n" in heard[0].lower()
    assert b"authorization: bearer second\r\n" in heard[1].lower()


@pytest.mark.parametrize("token", ["", "a\r\nX-Evil: 1", "tökn"])
def test_a_token_that_is_none_is_not_sent(token):
    with transport(1, token=lambda: token) as client, pytest.raises(UnauthorizedError) as caught:
        client.status(ID)

    assert "Evil" not in str(caught.value)


def test_a_token_file_that_cannot_be_read_is_a_matter_of_login():
    def broken():
        raise ConfigError(["the secret in /x cannot be read: Permission denied"])

    with transport(1, token=broken) as client:
        with pytest.raises(UnauthorizedError, match="cannot be read"):
            client.status(ID)
        assert client.credential() is None


def test_a_path_in_front_of_the_protocol_is_kept():
    heard: list[Any] = []
    raw = http("503 Busy", "text/plain", b"")
    with (
        server(answering(raw, heard)) as port,
        transport(port, url=f"http://127.0.0.1:{port}/ingest/") as client,
        pytest.raises(Exception, match="503"),
    ):
        client.create(CreateRequest("a.mp4"), "k" * 32)

    assert heard[0].startswith(b"POST /ingest/v1/uploads HTTP/1.1\r\n")


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    raw = http("503 Busy", "text/plain", b"")
    with (
        server(answering(raw)) as port,
        transport(port) as client,
        pytest.raises(Exception, match="503"),
    ):
        client.status(ID)


def test_an_error_of_the_source_comes_through_as_it_is():
    def body():
        yield b"x"
        raise SourceChangedError("a.mp4 was changed")

    with (
        server(lambda connection: connection.recv(65536)) as port,
        transport(port) as client,
        pytest.raises(SourceChangedError),
    ):
        client.send(ID, ByteRange(0, 10), 10, body())


def endless(started):
    while True:
        started.set()
        yield bytes(256 * 1024)


def aborted_after(client, started, request):
    """Run *request* in a thread, abort it once it is blocked; return error and seconds."""
    caught = []

    def run():
        try:
            request()
        except TransportError as error:
            caught.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(20)
    began = time.monotonic()
    client.abort()
    thread.join(20)
    return caught[0], time.monotonic() - began


def test_abort_wakes_a_send_that_is_blocked():
    full = 64 << 30
    with server(lambda _: None) as port, transport(port) as client:
        started = threading.Event()
        error, took_s = aborted_after(
            client,
            started,
            lambda: client.send(ID, ByteRange(0, full), full, endless(started)),
        )

    assert isinstance(error, AbortedError)
    assert took_s < 10


def test_abort_wakes_a_wait_for_an_answer():
    heard = threading.Event()

    def silent(connection):
        connection.recv(65536)
        heard.set()

    with server(silent) as port, transport(port) as client:
        error, took_s = aborted_after(client, heard, lambda: client.status(ID))

    assert isinstance(error, AbortedError)
    assert took_s < 10


def test_what_connects_while_it_is_aborted_is_closed(monkeypatch):
    dialled = []

    def dial_and_abort(*addresses, **options):
        dialled.append(dial(*addresses, **options))
        client.abort()
        return dialled[-1]

    monkeypatch.setattr(stream, "dial", dial_and_abort)
    with (
        server(answering(http("503 Busy", "text/plain", b""))) as port,
        transport(port) as client,
        pytest.raises(AbortedError),
    ):
        client.status(ID)

    assert [live.fileno() for live in dialled] == [-1]


def test_after_an_abort_nothing_is_sent_until_it_is_taken_back():
    raw = http("503 Busy", "text/plain", b"")
    with server(answering(raw)) as port, transport(port) as client:
        client.abort()
        with pytest.raises(AbortedError):
            client.status(ID)

        client.resume()
        with pytest.raises(Exception, match="503"):
            client.status(ID)


@pytest.mark.parametrize("control", ["auto", "cubic", "bbr"])
def test_connecting_works_whatever_congestion_control_is_asked_for(control):
    raw = http("503 Busy", "text/plain", b"")
    with (
        server(answering(raw)) as port,
        transport(port, congestion_control=control) as client,
        pytest.raises(Exception, match="503"),
    ):
        client.status(ID)


def test_a_ca_file_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")

    with pytest.raises(ConfigError, match=r"server\.ca_file"):
        transport(1, url="https://127.0.0.1", ca_file=tmp_path / "ca.pem")


@pytest.mark.parametrize("proxy", ["ftp://proxy", "socks5://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_one_sentence(proxy):
    with pytest.raises(ConfigError, match=r"server\.proxy"):
        transport(1, proxy=proxy)
