"""A server of one connection that answers as no server should, and the client that meets it."""

import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from edge_agent.base.errors import TransportError
from edge_agent.net.endpoint import Endpoint
from edge_agent.send.clients.native import NativeClient
from upload_protocol.ranges import ByteRange

ID = "0" * 32
MIB = 2**20
LENGTH = 64 * 1024


@contextmanager
def answering(serve, wrap=lambda raw: raw):
    """Let *serve* take one connection; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run():
            # The client hangs up on most of what is played here: that is no error of the test.
            try:
                with listener.accept()[0] as raw:
                    raw.settimeout(10)
                    with wrap(raw) as connection:
                        serve(connection)
            except OSError:
                return

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(10)
            assert not thread.is_alive(), "the client did not hang up"


def take(connection, *, body):
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1)
    while body:
        body -= len(connection.recv(min(65536, body))) or body


def for_ever(piece):
    def serve(connection):
        take(connection, body=LENGTH)
        while True:
            connection.sendall(piece)

    return serve


def after_the_body(raw):
    def serve(connection):
        take(connection, body=LENGTH)
        connection.sendall(raw)

    return serve


def client_at(endpoint):
    return NativeClient(
        endpoint, token=lambda: None, utc=lambda: datetime(2026, 11, 21, tzinfo=UTC)
    )


def client_of(port):
    return client_at(Endpoint(url=f"http://127.0.0.1:{port}", idle_timeout_s=5.0))


def sent_to(port, *, length=LENGTH, scheme="http", ca_file=None):
    """Send a body; return the error that comes of it."""
    connection = Endpoint(url=f"{scheme}://127.0.0.1:{port}", ca_file=ca_file, idle_timeout_s=5.0)
    body = iter([bytes(LENGTH)] * (length // LENGTH))
    with client_at(connection) as transport, pytest.raises(TransportError) as caught:
        transport.send(ID, ByteRange(0, length), length, body)
    return caught.value


def as_json(document):
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(document)}\r\n\r\n"
    return head.encode() + document


def a_status(received):
    text = f'{{"id":"{ID}","device":"d","name":"a","state":"open","length":4000,"received":{received}}}'
    return text.encode()
